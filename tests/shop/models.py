"""Models with what the sample project lacks: an upsert key, cascades of both kinds, exact numbers."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    sku = models.CharField(max_length=50, unique=True)
    category = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="products")
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    stock = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.sku


class Note(models.Model):
    """A remark about an object of any model."""

    kind = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.TextField()
    about = GenericForeignKey("kind", "object_id")
    text = models.TextField()

    def __str__(self) -> str:
        return self.text


class Order(models.Model):
    number = models.CharField(max_length=50, unique=True)
    placed_at = models.DateTimeField(auto_now_add=True)
    products = models.ManyToManyField(Product, related_name="orders")
    notes = GenericRelation(Note, content_type_field="kind")

    def __str__(self) -> str:
        return self.number


class Review(models.Model):
    """Deleted with its product by the database, without Django."""

    product = models.ForeignKey(
        Product, on_delete=models.DO_NOTHING, db_constraint=False, related_name="reviews"
    )
    text = models.TextField()

    def __str__(self) -> str:
        return self.text
