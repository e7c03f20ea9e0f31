// Patches one field of a record in each collection, with the types of openapi-typescript and the requests of openapi-fetch.
//
//     node built/patch.js API TOKEN '{"people": ID, "shops": ID, "tasks": ID}'

import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { argv: string[] };

const [api = "", token = "", ids = "{}"] = process.argv.slice(2);
const id: { people: string; shops: string; tasks: string } = JSON.parse(ids);
const client = createClient<paths>({ baseUrl: api, headers: { Authorization: `Bearer ${token}` } });

function succeeded(answer: { error?: unknown }): void {
    if (answer.error !== undefined) throw new Error(JSON.stringify(answer.error));
}

// Fields with a default are optional.
const made = await client.POST("/v1/collections/tasks/records", { body: { title: "new" } });
succeeded(made);
if (!made.data || !("status" in made.data) || made.data.status !== "open") throw new Error("the default is missing");

succeeded(
    await client.PATCH("/v1/collections/people/records/{id}", {
        params: { path: { id: id.people } },
        body: { name: "Ada Lovelace" },
    }),
);
succeeded(
    await client.PATCH("/v1/collections/tasks/records/{id}", {
        params: { path: { id: id.tasks } },
        body: { title: "rewrite" },
    }),
);
succeeded(
    await client.PATCH("/v1/collections/shops/records/{id}", {
        params: { path: { id: id.shops } },
        body: { opened: 1998 },
    }),
);
