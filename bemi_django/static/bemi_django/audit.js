"use strict";
// Comfort only: every page works without it.

function copyOnClick(button) {
  const source = document.getElementById(button.dataset.bemiCopy);
  const status = document.querySelector("[data-bemi-copied]");
  if (!source || !navigator.clipboard) {
    return;
  }
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    status.textContent = status.dataset.bemiCopied;
  });
}

async function refresh(part) {
  if (document.hidden) {
    return;
  }
  const response = await fetch(location.href, { credentials: "same-origin" });
  if (!response.ok || response.redirected) {
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-bemi-refresh]");
  // Not while somebody selects or tabs in it.
  if (fresh && !part.contains(document.activeElement) && getSelection().isCollapsed) {
    part.replaceChildren(...fresh.childNodes);
  }
}

document.querySelectorAll("[data-bemi-copy]").forEach(copyOnClick);
document.querySelectorAll("[data-bemi-refresh]").forEach((part) => {
  setInterval(() => refresh(part).catch(() => undefined), 1000 * Number(part.dataset.bemiRefresh));
});
