"""What the shop sells when the season begins."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_project.store.models import Category, Coupon, Product, Tag

_TAGS = ("new", "sale", "oak", "steel", "handmade", "recycled", "outdoor", "gift")
_ADJECTIVES = (
    "Small",
    "Large",
    "Round",
    "Folding",
    "Nordic",
    "Classic",
    "Light",
    "Striped",
    "Solid",
    "Quiet",
)
#: What there is of each category.
_NOUNS = {
    "Lamps": ("desk lamp", "floor lamp", "ceiling lamp"),
    "Chairs": ("chair", "stool", "armchair"),
    "Tables": ("table", "side table", "desk"),
    "Shelves": ("shelf", "bookcase", "rack"),
    "Rugs": ("rug", "runner", "mat"),
    "Textiles": ("cushion", "curtain", "blanket"),
    "Kitchen": ("bowl", "kettle", "pan"),
    "Garden": ("bench", "planter", "parasol"),
    "Office": ("file box", "lamp arm", "note board"),
    "Children": ("bunk bed", "toy box", "night light"),
}
_COLOURS = ("oak", "white", "black", "red")
_SENTENCES = (
    "Made in a small workshop and checked by hand.",
    "The surface is oiled and can be renewed at home.",
    "All parts can be ordered singly.",
    "It fits into the smallest of rooms.",
    "Delivered flat, with one tool for all screws.",
)
COUPONS = ("WELCOME", "FRIDAY", "STAFF")


def stock_up(random: Random, count: int) -> None:
    """Create categories, tags, coupons and ``count`` products."""
    categories = [Category.objects.create(name=name) for name in _NOUNS]
    tags = [Tag.objects.create(name=name) for name in _TAGS]
    for code, percent in zip(COUPONS, ("10.00", "20.00", "30.00"), strict=True):
        Coupon.objects.create(code=code, percent=Decimal(percent))
    products = Product.objects.bulk_create(_product(random, categories, number) for number in range(count))
    link = Product.tags.through
    link.objects.bulk_create(
        link(product_id=product.pk, tag_id=tag.pk)
        for product in products
        for tag in random.sample(tags, random.randint(0, 2))
    )


def _product(random: Random, categories: list[Category], number: int) -> Product:
    category = categories[number % len(categories)]
    noun = random.choice(_NOUNS[category.name])
    return Product(
        name=f"{random.choice(_ADJECTIVES)} {noun} {100 + number}",
        category=category,
        price=Decimal(random.randint(500, 50000)) / 100,
        stock=random.randint(20, 200),
        description="\n".join(random.choices(_SENTENCES, k=6)),
        details={
            "width": random.randint(20, 200),
            "colours": random.sample(_COLOURS, 2),
        },
        manual=f"manuals/{100 + number}.pdf" if number % 5 == 0 else "",
    )
