"""The table of contexts."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Make it."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            name="StoredContext",
            fields=[
                ("key", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("text", models.TextField()),
                ("expires", models.DateTimeField(db_index=True)),
            ],
            options={"abstract": False},
        ),
    ]
