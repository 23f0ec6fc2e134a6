from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0004_event_address'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            # On SQLite, AddField would copy the table, which can be large. Both databases add a
            # column with a constant default at once.
            database_operations=[
                migrations.RunSQL(
                    'ALTER TABLE "audit_event" ADD COLUMN "epoch" integer DEFAULT 1 NOT NULL',
                    'ALTER TABLE "audit_event" DROP COLUMN "epoch"',
                ),
            ],
            state_operations=[
                migrations.AddField(
                    model_name='event',
                    name='epoch',
                    field=models.IntegerField(db_default=1, default=1, editable=False),
                ),
            ],
        ),
        migrations.RemoveIndex(model_name='event', name='event_feed'),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['tenant', 'epoch', 'sequence', 'id'], name='event_feed'),
        ),
    ]
