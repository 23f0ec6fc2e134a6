from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_tenant_max_attempts'),
    ]

    operations = [
        migrations.AddField(
            model_name='tenant',
            name='events_missing_until',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
