//! Accounts in the `Identity` table: one item for each address, in one partition with its pending sign-ups.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `a#<email>` | `account` | id, password hash, roles |
//! | `a#<email>` | `signup#<place>` | a sign-up: password hash, hashes of its code and its token ([`crate::signups`]) |
//! | `bootstrap` | `admin` | marks that the first admin exists; written only once |

use crate::sessions::{NewSession, roles};
use crate::signups::{SignUp, partition};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde_json::json;
use undercroft::clock::Clock;
use undercroft::error::{Error, Result};
use undercroft::identity::email::Email;
use undercroft::identity::{ADMIN, User};
use undercroft::store::item::{self, Item, number, string, text};
use undercroft::store::record::profile_item;
use undercroft::store::{Expression, Table, TransactionOutcome, WriteOutcome};

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

/// Accounts and user profiles.
#[derive(Debug, Clone)]
pub struct Accounts {
    identity: Table,
    records: Table,
    clock: Clock,
}

impl Accounts {
    /// Accounts in the table `identity`, with profiles in the table `records`.
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

    /// Creates the account of a sign-up with its profile and first session in one transaction. The transaction also spends the
    /// code, so only one of several concurrent calls succeeds. The address `admin` gets the role if no admin exists yet.
    ///
    /// Returns the user, or `None` if the code was spent meanwhile or the address already has an account.
    pub async fn verify(
        &self,
        email: &Email,
        sign_up: SignUp,
        admin: bool,
        session: &NewSession,
    ) -> Result<Option<User>> {
        let roles = if admin { vec![ADMIN.to_owned()] } else { Vec::new() };
        let user = session.user(email, roles);
        let mut writes = self.account_writes(email, &sign_up, &user)?;
        writes.push(put(self.identity.name(), session.item(&user), None)?);
        if admin {
            let marker = item::key("bootstrap", "admin");
            writes.push(put(self.identity.name(), marker, Some("attribute_not_exists(pk)"))?);
        }
        let bootstrap = writes.len() - 1;
        match self.identity.transact(writes).await? {
            TransactionOutcome::Done => Ok(Some(user)),
            refused if admin && refused.refused_at(bootstrap) && !refused.refused_at(0) => {
                Box::pin(self.verify(email, sign_up, false, session)).await
            }
            TransactionOutcome::Conflicted(_) => Err(TransactionOutcome::CONFLICT),
            TransactionOutcome::Cancelled(_) => Ok(None),
        }
    }

    fn account_writes(&self, email: &Email, sign_up: &SignUp, user: &User) -> Result<Vec<TransactWriteItem>> {
        let table = self.identity.name();
        let mut account = item::key(&partition(email), "account");
        account.extend([
            ("id".to_owned(), string(&user.id)),
            ("hash".to_owned(), string(&sign_up.hash)),
            ("roles".to_owned(), item::from_json(&json!(user.roles))),
            ("createdAt".to_owned(), number(self.clock.seconds())),
        ]);
        let absent = Some("attribute_not_exists(pk)");
        let profile = profile_item(&user.id, email.as_str());
        Ok(vec![sign_up.spending(table)?, put(table, account, absent)?, put(self.records.name(), profile, absent)?])
    }

    /// Replaces a password hash that has outdated parameters, unless it changed meanwhile.
    pub async fn rehash(&self, email: &Email, old: &str, new: String) -> Result<()> {
        let change = Expression::new("SET #hash = :new").name("#hash", "hash").value(":new", string(new));
        let condition = Expression::new("#hash = :old").value(":old", string(old));
        let key = item::key(&partition(email), "account");
        self.identity.update(key, change, condition).await.map(|_: WriteOutcome<Item>| ())
    }
}

/// Builds a conditional put for a transaction.
///
/// # Errors
/// `Internal` if the SDK cannot build it.
pub fn put(table: &str, written: Item, condition: Option<&str>) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(written))
        .set_condition_expression(condition.map(str::to_owned))
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}
