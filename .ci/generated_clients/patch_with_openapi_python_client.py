"""Patches one field of a record in each collection, with the client of openapi-python-client.

python patch_with_openapi_python_client.py API TOKEN '{"people": ID, "shops": ID, "tasks": ID}'
"""

import json
import sys
from uuid import UUID

from with_openapi_python_client import AuthenticatedClient
from with_openapi_python_client import models
from with_openapi_python_client.api.people_records import patch_people
from with_openapi_python_client.api.shops_records import patch_shops
from with_openapi_python_client.api.tasks_records import create_tasks, patch_tasks

api, token, ids = sys.argv[1:]
ids = {collection: UUID(id) for collection, id in json.loads(ids).items()}
client = AuthenticatedClient(base_url=api, token=token)

made = create_tasks.sync(client=client, body=models.TasksInput(title="new"))
assert isinstance(made, models.TasksRecord) and made.status == models.TasksRecordStatus.OPEN, made

person = patch_people.sync(ids["people"], client=client, body=models.PeoplePatch(name="Ada Lovelace"))
assert isinstance(person, models.PeopleRecord) and person.name == "Ada Lovelace", person

task = patch_tasks.sync(ids["tasks"], client=client, body=models.TasksPatch(title="rewrite"))
assert isinstance(task, models.TasksRecord) and task.title == "rewrite", task

shop = patch_shops.sync(ids["shops"], client=client, body=models.ShopsPatch(opened=1998))
assert isinstance(shop, models.ShopsRecord) and shop.opened == 1998, shop
