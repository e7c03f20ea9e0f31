"""Patches one field of a record in each collection, with the models of datamodel-code-generator and httpx.

python patch_with_datamodel.py API TOKEN '{"people": ID, "shops": ID, "tasks": ID}'
"""

import json
import sys

import datamodel
import httpx

api, token, ids = sys.argv[1:]
ids = json.loads(ids)
client = httpx.Client(base_url=f"{api}/v1/collections", headers={"authorization": f"Bearer {token}"})


def sent(method, path, model):
    """Sends a model without its unset members. Members with a default would be sent."""
    answer = client.request(method, path, json=model.model_dump(mode="json", exclude_none=True))
    answer.raise_for_status()
    return answer.json()


made = datamodel.TasksRecord.model_validate(sent("POST", "/tasks/records", datamodel.TasksInput(title="new")))
assert made.status.value == "open", made

for collection, patch, record in [
    ("people", datamodel.PeoplePatch(name="Ada Lovelace"), datamodel.PeopleRecord),
    ("tasks", datamodel.TasksPatch(title="rewrite"), datamodel.TasksRecord),
    ("shops", datamodel.ShopsPatch(opened=1998), datamodel.ShopsRecord),
]:
    record.model_validate(sent("PATCH", f"/{collection}/records/{ids[collection]}", patch))
