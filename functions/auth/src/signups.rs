//! Pending sign-ups. An address has five places for them in the `Identity` table, one item each. A sign-up takes a free place
//! and does not touch the others, so nobody can invalidate another person's code by signing up the same address.
//!
//! The places also limit the mail to an address: each place sends one mail while it is taken, and all but the first stay
//! taken for longer than their code is valid. A sign-up without a free place is stored in an extra place and its mail is
//! withheld. That locks nobody out: while the places are taken, the address has received a valid code, and with that code and
//! a new password the owner gets the account, whoever signed up.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use std::collections::BTreeMap;
use undercroft::clock::Clock;
use undercroft::error::{Error, Result};
use undercroft::id;
use undercroft::identity::email::Email;
use undercroft::store::item::{self, Item, integer, number, string, text};
use undercroft::store::{Expression, Table, TableQuery, TransactionOutcome, WriteOutcome};

/// How long a mailed code is valid, in seconds.
pub const CODE_SECONDS: u64 = 600;
/// Number of places of an address: the maximum number of mails at once.
pub const PLACES: usize = 5;
/// How long every place except the first is taken, in seconds. So an address gets at most 148 mails a day.
pub const PLACE_SECONDS: u64 = 86_400;
/// Maximum number of different codes that may be tried with one signupToken (R9).
pub const MAX_TRIES: usize = 5;

/// Prefix of the sort key of a place.
const PREFIX: &str = "signup#";
/// The extra place, for the newest sign-up without a free place. Its mail is withheld.
const OVERFLOW: usize = PLACES;

/// Sign-ups of all addresses.
#[derive(Debug, Clone)]
pub struct SignUps {
    identity: Table,
    clock: Clock,
}

/// What is stored for an address before a sign-up.
#[derive(Debug)]
pub struct Address {
    /// Whether it has an account.
    pub is_known: bool,
    free: Vec<usize>,
}

impl Address {
    /// The place for the next sign-up: the first free one, or the extra place.
    pub fn place(&self, meets_others: bool) -> SignUpSlot {
        let [chance] = id::random::<1>();
        let nth = if meets_others { usize::from(chance) % self.free.len().max(1) } else { 0 };
        SignUpSlot(self.free.get(nth).copied().unwrap_or(OVERFLOW))
    }
}

/// A place for a sign-up.
#[derive(Debug, Clone, Copy)]
pub struct SignUpSlot(usize);

impl SignUpSlot {
    /// Whether a sign-up in this place sends a mail.
    pub fn is_mailed(self) -> bool {
        self.0 != OVERFLOW
    }

    fn seconds(self) -> u64 {
        if self.0 == 0 { CODE_SECONDS } else { PLACE_SECONDS }
    }
}

/// A sign-up to write. It has only hashes of its secrets.
#[derive(Debug)]
pub struct NewSignUp<'a> {
    /// Argon2id PHC string of its password.
    pub hash: &'a str,
    /// Hash of the mailed code.
    pub code_hash: &'a str,
    /// Hash of the signupToken.
    pub token_hash: &'a str,
}

/// A sign-up whose code was presented.
#[derive(Debug)]
pub struct SignUp {
    /// Argon2id PHC string of the password the account gets.
    pub hash: String,
    key: Item,
    code_hash: String,
}

impl SignUp {
    /// Deletes it in the transaction that creates the account, so that a code is spent only once.
    ///
    /// # Errors
    /// `Internal` only, which no caller can cause.
    pub fn spending(&self, table: &str) -> Result<TransactWriteItem> {
        let spend = aws_sdk_dynamodb::types::Delete::builder()
            .table_name(table)
            .set_key(Some(self.key.clone()))
            .condition_expression("codeHash = :code")
            .expression_attribute_values(":code", string(&self.code_hash))
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().delete(spend).build())
    }
}

impl SignUps {
    /// Sign-ups in `identity`.
    pub fn new(identity: Table, clock: Clock) -> Self {
        Self { identity, clock }
    }

    /// Reads what is stored for an address, in one read.
    pub async fn of(&self, email: &Email) -> Result<Address> {
        let kept = self.kept(email).await?;
        let now = self.clock.seconds();
        let is_taken = |place: &usize| kept.get(&sort(*place)).is_some_and(|one| is_before(one, "freeAt", now));
        let free = (0..PLACES).filter(|place| !is_taken(place)).collect();
        Ok(Address { is_known: kept.contains_key("account"), free })
    }

    /// Writes a pending sign-up and its mail job in one transaction. Returns false if another sign-up took the place; then read
    /// again.
    pub async fn begin(
        &self,
        email: &Email,
        place: SignUpSlot,
        new: NewSignUp<'_>,
        mail: TransactWriteItem,
    ) -> Result<bool> {
        let now = self.clock.seconds();
        let mut waiting = item::key(&partition(email), &sort(place.0));
        waiting.extend([
            ("hash".to_owned(), string(new.hash)),
            ("codeHash".to_owned(), string(new.code_hash)),
            ("tokenHash".to_owned(), string(new.token_hash)),
            ("expiresAt".to_owned(), number(now + CODE_SECONDS)),
            ("freeAt".to_owned(), number(now + place.seconds())),
            ("ttl".to_owned(), number(now + place.seconds())),
        ]);
        let put = Put::builder().table_name(self.identity.name()).set_item(Some(waiting));
        let put = if place.is_mailed() {
            put.condition_expression("attribute_not_exists(pk) OR freeAt <= :now")
                .expression_attribute_values(":now", number(now))
        } else {
            put
        };
        let put = TransactWriteItem::builder().put(put.build().map_err(Error::internal)?).build();
        Ok(self.identity.transact(vec![put, mail]).await? == TransactionOutcome::Done)
    }

    /// Returns the sign-up with this token if the code belongs to it. The try is counted before the code is compared, so that
    /// concurrent tries cannot exceed [`MAX_TRIES`]. Repeating the same code counts once.
    pub async fn try_code(&self, email: &Email, token: &str, code: &str) -> Result<Option<SignUp>> {
        let token = token_hash(email, token);
        let kept = self.kept(email).await?;
        let Some(named) = kept.into_values().find(|one| text(one, "tokenHash") == Some(&token)) else {
            return Ok(None);
        };
        let code = code_hash(email, code);
        let tried: String = code.chars().take(8).collect();
        let change = Expression::new("ADD tried :tried").value(":tried", AttributeValue::Ss(vec![tried.clone()]));
        let condition = Expression::new(
            "tokenHash = :token AND expiresAt > :now \
             AND (attribute_not_exists(tried) OR size(tried) < :most OR contains(tried, :this))",
        )
        .value(":token", string(token))
        .value(":now", number(self.clock.seconds()))
        .value(":most", number(MAX_TRIES as u64))
        .value(":this", string(tried));
        match self.identity.update(key_of(&named), change, condition).await? {
            WriteOutcome::Done(found) => Ok(sign_up(&found, &code)),
            WriteOutcome::ConditionFailed(_) => Ok(None),
        }
    }

    /// Returns the sign-up of an address with this code. Tries are not counted: a shared counter would let anybody invalidate the
    /// codes of others, and a code has 150 bits.
    pub async fn with_code(&self, email: &Email, code: &str) -> Result<Option<SignUp>> {
        let (code, now) = (code_hash(email, code), self.clock.seconds());
        // DynamoDB removes expired items late, so the time is compared here too (R38).
        let kept = self.kept(email).await?.into_values().filter(|one| is_before(one, "expiresAt", now));
        Ok(kept.into_iter().find_map(|one| sign_up(&one, &code)))
    }

    /// Reads all items of an address, by sort key.
    async fn kept(&self, email: &Email) -> Result<BTreeMap<String, Item>> {
        let all = TableQuery {
            key: Expression::new("pk = :pk").value(":pk", string(partition(email))),
            forward: true,
            limit: 100,
            consistent: true,
            ..TableQuery::default()
        };
        let items = self.identity.query(&all).await?.items;
        Ok(items.into_iter().filter_map(|one| Some((text(&one, "sk")?.to_owned(), one))).collect())
    }
}

/// The stored hash of a code. It includes purpose and address, so it is valid for nothing else.
pub fn code_hash(email: &Email, code: &str) -> String {
    id::sha256(format!("signup:{}:{code}", email.as_str()).as_bytes())
}

/// The stored hash of a signupToken, with purpose and address.
pub fn token_hash(email: &Email, token: &str) -> String {
    id::sha256(format!("signup-token:{}:{token}", email.as_str()).as_bytes())
}

/// The partition of an address.
pub fn partition(email: &Email) -> String {
    format!("a#{}", email.as_str())
}

fn sort(place: usize) -> String {
    format!("{PREFIX}{place}")
}

fn is_before(one: &Item, limit: &str, now: u64) -> bool {
    integer(one, limit).is_some_and(|limit| now < limit)
}

/// Returns the sign-up in an item if its code has this hash.
fn sign_up(found: &Item, code_hash: &str) -> Option<SignUp> {
    (text(found, "codeHash") == Some(code_hash)).then(|| SignUp {
        hash: text(found, "hash").unwrap_or_default().to_owned(),
        key: key_of(found),
        code_hash: code_hash.to_owned(),
    })
}

fn key_of(found: &Item) -> Item {
    item::key(text(found, "pk").unwrap_or_default(), text(found, "sk").unwrap_or_default())
}
