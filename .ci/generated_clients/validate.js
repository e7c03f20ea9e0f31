// Compiles a JSON Schema with Ajv in its default mode, which refuses unknown keywords, and validates a record.
//
//     node validate.js schema.json record.json

import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [schema, record] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const ajv = new Ajv2020();
addFormats(ajv);
const validate = ajv.compile(schema);
if (!validate(record)) {
    console.error(validate.errors);
    process.exit(1);
}
