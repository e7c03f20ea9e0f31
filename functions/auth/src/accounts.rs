//! Accounts in the `Identity` table: one item an address, and beside it what waits to be verified.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `a#<email>` | `account` | id, password hash, roles |
//! | `a#<email>` | `pending` | the newest sign-up, waiting for its code: password hash, hash of the code |
//! | `bootstrap` | `admin` | that the first admin exists; written once, ever |

use crate::sessions::NewSession;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use serde_json::json;
use undercroft::clock::Clock;
use undercroft::error::{Error, Result};
use undercroft::identity::email::Email;
use undercroft::identity::{ADMIN, User};
use undercroft::store::item::{self, Item, integer, number, string, text};
use undercroft::store::record::profile_item;
use undercroft::store::{Expression, Table, Transacted, Written};

/// How long a mailed code is good for, in seconds.
pub const CODE_SECONDS: u64 = 600;

/// A verified account.
#[derive(Debug, Clone)]
pub struct Account {
    /// UUIDv7.
    pub id: String,
    /// Argon2id PHC string.
    pub hash: String,
    /// Roles it holds.
    pub roles: Vec<String>,
}

/// A sign-up that waits for its code.
#[derive(Debug)]
pub struct Pending {
    /// Argon2id PHC string of the password it was made with.
    pub hash: String,
    /// Whether another sign-up for the address, still in time, had another password. Who verifies must then prove theirs.
    pub is_contested: bool,
    code_hash: String,
    expires_at: u64,
}

/// A sign-up about to be written.
#[derive(Debug)]
pub struct NewPending {
    /// Argon2id PHC string of its password.
    pub hash: String,
    /// Whether another sign-up for the address, still in time, had another password.
    pub is_contested: bool,
    /// Hash of the code that its mail carries.
    pub code_hash: String,
}

impl Pending {
    /// Whether it waits for the code with this hash.
    pub fn waits_for(&self, code_hash: &str) -> bool {
        self.code_hash == code_hash
    }
}

/// Accounts, and the profiles that come with them.
#[derive(Debug, Clone)]
pub struct Accounts {
    identity: Table,
    records: Table,
    clock: Clock,
}

impl Accounts {
    /// Accounts in `identity`, with their profiles in `records`.
    pub fn new(identity: Table, records: Table, clock: Clock) -> Self {
        Self { identity, records, clock }
    }

    /// The account of an address.
    pub async fn find(&self, email: &Email) -> Result<Option<Account>> {
        let found = self.identity.get(&partition(email), "account", true).await?;
        Ok(found.map(|found| Account {
            id: text(&found, "id").unwrap_or_default().to_owned(),
            hash: text(&found, "hash").unwrap_or_default().to_owned(),
            roles: roles(&found),
        }))
    }

    /// Writes a sign-up that waits for its code, and asks for its mail, all or nothing. It replaces `earlier`, whose code is
    /// void from then on, and nothing else: two sign-ups at the same moment cannot both believe they were the only one.
    ///
    /// Returns whether it was written. If not, another one came between: look again.
    pub async fn sign_up(
        &self,
        email: &Email,
        earlier: Option<&Pending>,
        newer: NewPending,
        mail: TransactWriteItem,
    ) -> Result<bool> {
        let now = self.clock.seconds();
        let mut pending = item::key(&partition(email), "pending");
        pending.extend([
            ("hash".to_owned(), string(newer.hash)),
            ("codeHash".to_owned(), string(newer.code_hash)),
            ("contested".to_owned(), item::from_json(&newer.is_contested.into())),
            ("expiresAt".to_owned(), number(now + CODE_SECONDS)),
            ("ttl".to_owned(), number(now + CODE_SECONDS)),
        ]);
        let as_read = Put::builder().table_name(self.identity.name()).set_item(Some(pending));
        let as_read = match earlier {
            Some(earlier) => as_read
                .condition_expression("codeHash = :earlier")
                .expression_attribute_values(":earlier", string(&earlier.code_hash)),
            None => as_read
                .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
                .expression_attribute_values(":now", number(now)),
        };
        let as_read = TransactWriteItem::builder().put(as_read.build().map_err(Error::internal)?).build();
        Ok(self.identity.transact(vec![as_read, mail]).await? == Transacted::Done)
    }

    /// The newest sign-up of an address, if it is still in time.
    pub async fn pending(&self, email: &Email) -> Result<Option<Pending>> {
        let found = self.identity.get(&partition(email), "pending", true).await?;
        let pending = found.map(|found| Pending {
            hash: text(&found, "hash").unwrap_or_default().to_owned(),
            is_contested: found.get("contested").is_some_and(|contested| item::to_json(contested) == json!(true)),
            code_hash: text(&found, "codeHash").unwrap_or_default().to_owned(),
            // Time to live removes items late, so the time is compared here as well (R38).
            expires_at: integer(&found, "expiresAt").unwrap_or(0),
        });
        Ok(pending.filter(|pending| self.clock.seconds() < pending.expires_at))
    }

    /// Turns a pending sign-up into an account with its profile and first session, all or nothing. Of many at once, one
    /// succeeds: the code is spent by the same transaction. Whoever is `admin` while no admin exists becomes it.
    ///
    /// Returns the account's user, or `None` when the code was spent or replaced meanwhile.
    pub async fn verify(
        &self,
        email: &Email,
        pending: Pending,
        id: String,
        admin: bool,
        session: &NewSession,
    ) -> Result<Option<User>> {
        let roles = if admin { vec![ADMIN.to_owned()] } else { Vec::new() };
        let user = User { id, session: session.id.clone(), email: email.as_str().to_owned(), verified: true, roles };
        let mut writes = self.account_writes(email, &pending, &user)?;
        writes.push(put(self.identity.name(), session.item(&user), None)?);
        if admin {
            let marker = item::key("bootstrap", "admin");
            writes.push(put(self.identity.name(), marker, Some("attribute_not_exists(pk)"))?);
        }
        let bootstrap = writes.len() - 1;
        match self.identity.transact(writes).await? {
            Transacted::Done => Ok(Some(user)),
            refused if admin && refused.refused_at(bootstrap) && !refused.refused_at(0) => {
                Box::pin(self.verify(email, pending, user.id, false, session)).await
            }
            Transacted::Conflicted(_) => Err(Transacted::CONFLICT),
            Transacted::Refused(_) => Ok(None),
        }
    }

    fn account_writes(&self, email: &Email, pending: &Pending, user: &User) -> Result<Vec<TransactWriteItem>> {
        let table = self.identity.name();
        let spend = Delete::builder()
            .table_name(table)
            .set_key(Some(item::key(&partition(email), "pending")))
            .condition_expression("codeHash = :code")
            .expression_attribute_values(":code", string(&pending.code_hash))
            .build()
            .map_err(Error::internal)?;
        let mut account = item::key(&partition(email), "account");
        account.extend([
            ("id".to_owned(), string(&user.id)),
            ("hash".to_owned(), string(&pending.hash)),
            ("roles".to_owned(), item::from_json(&json!(user.roles))),
            ("createdAt".to_owned(), number(self.clock.seconds())),
        ]);
        let absent = Some("attribute_not_exists(pk)");
        let profile = profile_item(&user.id, email.as_str());
        Ok(vec![
            TransactWriteItem::builder().delete(spend).build(),
            put(table, account, absent)?,
            put(self.records.name(), profile, absent)?,
        ])
    }

    /// Replaces a password hash made with outdated parameters, unless it has changed since.
    pub async fn rehash(&self, email: &Email, old: &str, new: String) -> Result<()> {
        let change = Expression::new("SET #hash = :new").name("#hash", "hash").value(":new", string(new));
        let condition = Expression::new("#hash = :old").value(":old", string(old));
        let key = item::key(&partition(email), "account");
        self.identity.update(key, change, condition).await.map(|_: Written<Item>| ())
    }
}

/// A conditional put for a transaction.
///
/// # Errors
/// `Internal` when the SDK refuses to build it.
pub fn put(table: &str, written: Item, condition: Option<&str>) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(written))
        .set_condition_expression(condition.map(str::to_owned))
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn partition(email: &Email) -> String {
    format!("a#{}", email.as_str())
}

/// The roles in an item.
pub fn roles(found: &Item) -> Vec<String> {
    let listed = found.get("roles").and_then(|roles| roles.as_l().ok());
    listed.into_iter().flatten().filter_map(|role| role.as_s().ok().cloned()).collect()
}
