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

// A page that has found nothing yet searches on, page by page, until something is found or all was searched.
// Towards newer changes it waits for a click: the link to older ones leads back.
async function searchOn(link) {
  const pages = 100;
  for (let read = 0; read < pages; read += 1) {
    const response = await fetch(link.href, { credentials: "same-origin" });
    if (!response.ok || response.redirected) {
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const next = page.querySelector("[data-bemi-onward]");
    if (!page.querySelector("[data-bemi-search]") || !next) {
      location.replace(link.href);
      // Nothing more is said here.
      await new Promise(() => undefined);
    }
    link.setAttribute("href", next.getAttribute("href"));
  }
}

document.querySelectorAll("[data-bemi-search]").forEach((note) => {
  const found = note.textContent;
  const link = document.querySelector("[data-bemi-onward]");
  const say = () => {
    note.textContent = found;
  };
  if (link) {
    note.textContent = note.dataset.bemiSearch;
    searchOn(link).then(say, say);
  }
});
document.querySelectorAll("[data-bemi-copy]").forEach(copyOnClick);
document.querySelectorAll("[data-bemi-refresh]").forEach((part) => {
  setInterval(() => refresh(part).catch(() => undefined), 1000 * Number(part.dataset.bemiRefresh));
});

// "/" goes to the search, "j" and "k" to the next and the previous change; Enter opens it, as any link.
function step(by) {
  const links = [...document.querySelectorAll(".bemi-changes tbody .bemi-when a, .bemi-action > .bemi-when a, .bemi-step > .bemi-when a")];
  const here = links.findIndex((link) => link.closest("tr, li").contains(document.activeElement));
  const there = links[here < 0 ? (by > 0 ? 0 : links.length - 1) : here + by];
  if (there) {
    there.focus();
  }
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const neighbour = document.querySelector(`[data-bemi-key="${CSS.escape(event.key)}"]`);
  const search = document.querySelector(".bemi input[type=search]");
  if (neighbour) {
    neighbour.click();
  } else if (event.key === "j" || event.key === "k") {
    step(event.key === "j" ? 1 : -1);
  } else if (event.key === "/" && search) {
    search.focus();
  } else {
    return;
  }
  event.preventDefault();
});
