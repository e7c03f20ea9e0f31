//! SSM Parameter Store, where the functions store their keys.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::clock::Clock;
use crate::database::Database;
use crate::template::{ACCOUNT, REGION};

/// Table of this service.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS parameters (
        name TEXT PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, version INTEGER NOT NULL, modified INTEGER NOT NULL);
";

/// Maximum size of a standard parameter in bytes.
const MAXIMUM_SIZE: usize = 4096;

/// The service.
#[derive(Debug)]
pub struct Parameters {
    database: Arc<Database>,
    clock: Clock,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get {
    name: String,
    #[serde(default)]
    with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    name: String,
    value: String,
    r#type: Option<String>,
    #[serde(default)]
    overwrite: bool,
}

impl Parameters {
    /// The service over `database`.
    pub fn new(database: Arc<Database>, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// Performs one call of the service's JSON protocol.
    ///
    /// # Errors
    /// SSM's errors.
    pub fn call(&self, action: &str, body: &[u8]) -> Result<Value, AwsError> {
        match action {
            "GetParameter" => self.get(&serde_json::from_slice(body)?),
            "PutParameter" => self.put(&serde_json::from_slice(body)?),
            other => {
                Err(AwsError::new("UnsupportedOperationException", format!("the local SSM does not support {other}")))
            }
        }
    }

    fn get(&self, request: &Get) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let sql = "SELECT kind, value, version, modified FROM parameters WHERE name = ?1";
            let found: Option<(String, String, u64, u64)> = db
                .query_row(sql, [&request.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            let (kind, value, version, modified) = found
                .ok_or_else(|| AwsError::new("ParameterNotFound", format!("there is no parameter {}", request.name)))?;
            // As in AWS, the value is only returned in plain text when decryption was requested.
            let value =
                if kind == "SecureString" && !request.with_decryption { "(encrypted)".to_owned() } else { value };
            Ok(json!({ "Parameter": {
                "ARN": format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{}", request.name.trim_start_matches('/')),
                "Name": request.name,
                "Type": kind,
                "Value": value,
                "Version": version,
                "LastModifiedDate": modified / 1000,
                "DataType": "text",
            } }))
        })
    }

    fn put(&self, request: &Put) -> Result<Value, AwsError> {
        if request.value.is_empty() || request.value.len() > MAXIMUM_SIZE {
            return Err(AwsError::new(
                "ValidationException",
                format!("a value must have from 1 to {MAXIMUM_SIZE} bytes"),
            ));
        }
        self.database.transact(|db| {
            let existing: Option<(String, u64)> = db
                .query_row("SELECT kind, version FROM parameters WHERE name = ?1", [&request.name], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let (kind, version) = match (&existing, &request.r#type) {
                (Some(_), _) if !request.overwrite => {
                    let why =
                        "The parameter already exists. To overwrite this value, set the overwrite option to true.";
                    return Err(AwsError::new("ParameterAlreadyExists", why));
                }
                (Some((kind, version)), given) => (given.as_ref().unwrap_or(kind), version + 1),
                (None, Some(kind)) => (kind, 1),
                (None, None) => {
                    return Err(AwsError::new("ValidationException", "Type is missing for a new parameter"));
                }
            };
            if !["String", "StringList", "SecureString"].contains(&kind.as_str()) {
                return Err(AwsError::new("UnsupportedParameterType", format!("{kind} is not a parameter type")));
            }
            db.execute(
                "INSERT OR REPLACE INTO parameters (name, kind, value, version, modified) VALUES (?1, ?2, ?3, ?4, ?5)",
                (&request.name, kind, &request.value, version, self.clock.now()),
            )?;
            Ok(json!({ "Version": version, "Tier": "Standard" }))
        })
    }
}
