from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make_unlogged(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Write no log of the counters on PostgreSQL: a crash may reset them, and they are written for
    each attempt to sign in.
    """
    if schema_editor.connection.vendor == 'postgresql':
        schema_editor.execute('ALTER TABLE accounts_attemptcounter SET UNLOGGED')


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_mail_tokens'),
    ]

    operations = [
        migrations.CreateModel(
            name='AttemptCounter',
            fields=[
                ('key', models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ('short_until', models.BigIntegerField()),
                ('long_until', models.BigIntegerField()),
            ],
            options={
                'indexes': [models.Index(fields=['long_until'], name='attempt_counter_age')],
            },
        ),
        migrations.RunPython(make_unlogged, migrations.RunPython.noop, elidable=False),
    ]
