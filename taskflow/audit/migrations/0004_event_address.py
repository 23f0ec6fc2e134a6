from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0003_event_token_issued_by'),
    ]

    operations = [
        migrations.AddField(
            model_name='event',
            name='address',
            field=models.CharField(max_length=64, null=True),
        ),
    ]
