//! A local cloud with one collection in it and one caller who may use it: what every measurement stands on.
//!
//! The collection is `notes`: a text, the people who may see it, an author, an index on the author by time. Its rules are the
//! ones that the load runs of other backends had too: a token, membership, a timestamp.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::Source;
use undercroft::id;
use undercroft::identity::keys::{KEYS_PARTITION, KEYS_SORT};
use undercroft::identity::{ADMIN, User, token};
use undercroft::schema::Collection;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;
use undercroft::store::jobs::Jobs;
use undercroft::store::lease::Lease;
use undercroft_local::{Data, DataFolder, LocalCloud, Options, Template};

/// The path of the collection's records.
pub const NOTES: &str = "/v1/collections/notes/records";
/// The key id of the key that signs the tokens here.
const KID: &str = "load";

/// The variable by which glibc's malloc is tuned.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// The password of accounts that are put.
pub const PASSWORD: &str = "correct horse battery staple";
/// Its hash, with the parameters that `auth` uses.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$pjFtkivEQayD8Tx0ZRnuEg$JJZMMQPrU8QyiSO97jVd1l6ul9S6uqMlt/JJYAgekJA";

/// A local cloud, set up.
#[derive(Debug)]
pub struct Stack {
    runtime: Runtime,
    cloud: LocalCloud,
    signing_key: Vec<u8>,
}

impl Stack {
    /// Starts a cloud whose data is kept there, with a signing key published.
    ///
    /// # Errors
    /// When the cloud does not start.
    pub fn start(data: Data) -> Result<Self, Source> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let template = Template::read(&root().join("template.yaml")).map_err(|refusal| refusal.to_string())?;
        let starting = LocalCloud::start(Options { data, ..Options::in_memory(template) });
        let cloud = runtime.block_on(starting).map_err(|error| error.to_string())?;
        let signing_key =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| "no randomness")?.as_ref().to_vec();
        let stack = Self { runtime, cloud, signing_key };
        stack.publish_key()?;
        Ok(stack)
    }

    /// Starts a cloud that keeps its data in this folder, for runs that write much: the engine finds its place in a long
    /// stream only there.
    ///
    /// # Errors
    /// When the cloud does not start.
    pub fn start_in(folder: &Path) -> Result<Self, Source> {
        Self::start(Data::Folder(DataFolder::open(folder).map_err(|error| error.to_string())?))
    }

    /// Takes back the key that signs the tokens here, for a function that publishes its own.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn unpublish_key(&self) -> Result<(), Source> {
        let key = json!({ "pk": { "S": KEYS_PARTITION }, "sk": { "S": KEYS_SORT } });
        self.call("DynamoDB_20120810.DeleteItem", &json!({ "TableName": self.records_table()?, "Key": key })).map(drop)
    }

    fn publish_key(&self) -> Result<(), Source> {
        let pair = Ed25519KeyPair::from_pkcs8(&self.signing_key).map_err(|error| error.to_string())?;
        let key = json!({ "M": { "kid": { "S": KID }, "x": { "S": id::base64url(pair.public_key().as_ref()) } } });
        let item = json!({ "pk": { "S": KEYS_PARTITION }, "sk": { "S": KEYS_SORT }, "keys": { "L": [key] } });
        self.call("DynamoDB_20120810.PutItem", &json!({ "TableName": self.records_table()?, "Item": item })).map(drop)
    }

    /// Puts `notes`, spread over so many shards.
    ///
    /// # Errors
    /// What the function said, when it refused.
    pub fn put_notes(&self, shards: u8) -> Result<(), Source> {
        self.put(&definition("notes", shards))
    }

    /// Puts `notes` listed by the people who may see them, through an index over the elements of an array.
    ///
    /// # Errors
    /// What the function said, when it refused.
    pub fn put_shared_notes(&self) -> Result<(), Source> {
        let mut shared = definition("notes", 1);
        if let Some(members) = shared.as_object_mut() {
            let index = json!({ "name": "shared", "partition": ["members[]"], "sort": ["createdAt"] });
            members.insert("indexes".to_owned(), json!([index]));
        }
        if let Some(list) = shared.pointer_mut("/rules/list") {
            *list = "auth.id in record.members".into();
        }
        self.put(&shared)
    }

    /// Puts a collection.
    ///
    /// # Errors
    /// What the function said, when it refused.
    pub fn put(&self, definition: &Value) -> Result<(), Source> {
        let env = self.environment("collections").into_iter().collect::<Env>();
        let (admin, body) = (self.admin()?, definition.to_string());
        let name = definition.get("name").and_then(Value::as_str).unwrap_or_default();
        let request = Request::put(format!("/v1/collections/{name}"))
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/json")
            .body(Body::from(body))?;
        self.wait(async {
            let app = undercroft_collections::App::from_env(&env)?;
            let response = undercroft_collections::routes(app, &env).oneshot(request).await?;
            let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
            if status.is_success() {
                Ok(())
            } else {
                Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
            }
        })
    }

    /// A new token for the account with this id, which is no admin's.
    ///
    /// # Errors
    /// Never, with the key made here.
    pub fn token(&self, user: &str) -> Result<String, Source> {
        self.signed(&somebody(user, &[]))
    }

    /// A new token for an admin.
    ///
    /// # Errors
    /// Never, with the key made here.
    pub fn admin(&self) -> Result<String, Source> {
        self.signed(&somebody(&account(), &[ADMIN]))
    }

    /// Makes a verified account that nobody has signed up for, with the password [`PASSWORD`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_account(&self, email: &str) -> Result<(), Source> {
        let (table, key) = (self.environment("auth").remove("IDENTITY_TABLE"), format!("a#{email}"));
        let item = json!({ "pk": { "S": key }, "sk": { "S": "account" }, "id": { "S": account() }, "hash": { "S": HASH },
            "roles": { "L": [] }, "createdAt": { "N": "1795348800" } });
        self.call("DynamoDB_20120810.PutItem", &json!({ "TableName": table, "Item": item })).map(drop)
    }

    fn signed(&self, user: &User) -> Result<String, Source> {
        let clock = Clock::default();
        let stack = self.environment("records").get("UNDERCROFT_STACK").cloned().unwrap_or_default();
        token::sign(user, &token::issuer(&stack), KID, &self.signing_key, clock.seconds(), id::new(&clock))
    }

    /// The environment of a function, as the local cloud gives it, but with the `GLIBC_TUNABLES` of this process where it has
    /// some: so they are tried out.
    pub fn environment(&self, function: &str) -> BTreeMap<String, String> {
        let mut variables = self.cloud.environment(function);
        variables.extend(std::env::var(TUNABLES).map(|tunables| (TUNABLES.to_owned(), tunables)));
        variables
    }

    /// Address of all AWS services.
    pub fn endpoint(&self) -> &str {
        self.cloud.endpoint()
    }

    /// Calls a service, as an SDK would.
    ///
    /// # Errors
    /// When it refuses.
    pub fn call(&self, action: &str, body: &Value) -> Result<Value, Source> {
        Ok(self.wait(self.cloud.call(action, body)).map_err(|error| error.to_string())?)
    }

    /// The name of the table that holds records.
    ///
    /// # Errors
    /// When template.yaml has none.
    pub fn records_table(&self) -> Result<String, Source> {
        self.environment("records").remove("RECORDS_TABLE").ok_or_else(|| "template.yaml names no RECORDS_TABLE".into())
    }

    /// `notes` as the functions know it.
    ///
    /// # Errors
    /// When it was not put.
    pub fn notes(&self) -> Result<Arc<Collection>, Source> {
        let env = self.environment("records").into_iter().collect::<Env>();
        let table = Table::new(Aws::from_env(&env)?.dynamodb(), self.records_table()?);
        let found = self.wait(async {
            Definitions::new(table, Clock::default(), Lease::of_millis(5_000)).collection("notes").await
        });
        found.map_err(|error| format!("{error:?}"))?.ok_or_else(|| "there is no collection notes".into())
    }

    /// The jobs, as the function sees them that enqueues them.
    ///
    /// # Errors
    /// When template.yaml names no table for them.
    pub fn jobs(&self) -> Result<Jobs, Source> {
        let env = self.environment("jobs").into_iter().collect::<Env>();
        let table = env.required("JOBS_TABLE")?;
        Ok(Jobs::new(Table::new(Aws::from_env(&env)?.dynamodb(), table), Clock::default()))
    }

    /// The bucket, as the worker sees it.
    ///
    /// # Errors
    /// When template.yaml names none.
    pub fn files(&self) -> Result<Objects, Source> {
        let env = self.environment("worker").into_iter().collect::<Env>();
        Ok(Objects::new(Aws::from_env(&env)?, env.required("FILES_BUCKET")?))
    }

    /// Waits for what calls this stack.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

/// The folder of template.yaml.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The definition of a collection like `notes`.
pub fn definition(name: &str, shards: u8) -> Value {
    json!({
        "name": name,
        "schema": { "type": "object", "required": ["text", "author", "members"], "additionalProperties": false, "properties": {
            "text": { "type": "string", "minLength": 1, "maxLength": 2000 },
            "author": { "type": "string", "maxLength": 100 },
            "members": { "type": "array", "maxItems": 20, "items": { "type": "string", "maxLength": 100 } } } },
        "indexes": [{ "name": "mine", "partition": ["author"], "sort": ["createdAt"] }],
        "shards": shards,
        "rules": {
            "list": "record.author == auth.id",
            "read": "auth.id in record.members",
            "create": "auth.id in input.members && input.author == auth.id",
            "update": "record.author == auth.id",
            "delete": "record.author == auth.id" }
    })
}

/// A note by `author`: about 500 bytes as DynamoDB counts.
pub fn note(author: &str) -> Value {
    let text = "All that is solid stands on something that nobody looks at. ".repeat(3);
    json!({ "text": text, "author": author, "members": [author] })
}

/// An id for a new account.
pub fn account() -> String {
    id::new(&Clock::default())
}

fn somebody(id: &str, roles: &[&str]) -> User {
    User {
        id: id.to_owned(),
        session: account(),
        email: "ada@example.org".into(),
        verified: true,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}
