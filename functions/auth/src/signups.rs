//! Sign-ups that wait for their code. An address has a few places for them in the `Identity` table, one item each; a sign-up takes
//! a free one and leaves the others as they are, so nobody voids anybody else's code by signing up the same address.
//!
//! The places are also what bounds the mail to an address: each sends one mail while it is taken, and is taken for longer than
//! its code is good, but for the first. A sign-up that finds none free is kept in a place of its own and its mail is withheld.
//! That locks nobody out: while the places are taken, the address has a mail with a code that is good, and with that code and a
//! password chosen now its owner gets the account, whoever signed up.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use std::collections::BTreeMap;
use undercroft::clock::Clock;
use undercroft::error::{Error, Result};
use undercroft::id;
use undercroft::identity::email::Email;
use undercroft::store::item::{self, Item, integer, number, string, text};
use undercroft::store::{Expression, Table, TableQuery, TransactionOutcome, WriteOutcome};

/// How long a mailed code is good for, in seconds.
pub const CODE_SECONDS: u64 = 600;
/// How many places an address has: the most mails it gets at once.
pub const PLACES: usize = 5;
/// How long each place but the first is taken, in seconds: so an address gets at most 148 mails a day.
pub const PLACE_SECONDS: u64 = 86_400;
/// How many different codes may be tried with one sign-up's token (R9).
pub const MAX_TRIES: usize = 5;

/// What is before the name of a place in a sort key.
const PREFIX: &str = "signup#";
/// The place of the newest sign-up that found none free. Its mail is withheld.
const OVERFLOW: usize = PLACES;

/// Sign-ups of all addresses.
#[derive(Debug, Clone)]
pub struct SignUps {
    identity: Table,
    clock: Clock,
}

/// What is kept of an address before somebody signs it up.
#[derive(Debug)]
pub struct Address {
    /// Whether it has an account.
    pub is_known: bool,
    free: Vec<usize>,
}

impl Address {
    /// The place for the next sign-up: the first free one, or any, for whoever met others there.
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
    /// Whether a mail goes out for a sign-up in this place.
    pub fn is_mailed(self) -> bool {
        self.0 != OVERFLOW
    }

    fn seconds(self) -> u64 {
        if self.0 == 0 { CODE_SECONDS } else { PLACE_SECONDS }
    }
}

/// A sign-up about to be written. Of its secrets only hashes.
#[derive(Debug)]
pub struct NewSignUp<'a> {
    /// Argon2id PHC string of its password.
    pub hash: &'a str,
    /// Hash of the code that its mail carries.
    pub code_hash: &'a str,
    /// Hash of the token that whoever signed up was given.
    pub token_hash: &'a str,
}

/// A sign-up whose code was shown.
#[derive(Debug)]
pub struct SignUp {
    /// Argon2id PHC string of the password the account gets.
    pub hash: String,
    key: Item,
    code_hash: String,
}

impl SignUp {
    /// Its end, as a part of the transaction that makes the account: a code is spent once.
    ///
    /// # Errors
    /// None that a caller could cause.
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

    /// What is kept of an address: one read, which costs the same whatever there is.
    pub async fn of(&self, email: &Email) -> Result<Address> {
        let kept = self.kept(email).await?;
        let now = self.clock.seconds();
        let is_taken = |place: &usize| kept.get(&sort(*place)).is_some_and(|one| is_before(one, "freeAt", now));
        let free = (0..PLACES).filter(|place| !is_taken(place)).collect();
        Ok(Address { is_known: kept.contains_key("account"), free })
    }

    /// Writes a sign-up that waits for its code, and its mail, all or nothing. Returns whether it was written. If not, another
    /// one took the place: look again.
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

    /// The sign-up with this token, if the code is its own. The try is counted before the code is looked at, so that no number
    /// of tries at once is more than [`MAX_TRIES`]; the same code again counts once.
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

    /// The sign-up of an address with this code. Tries are not counted, because nobody could say whose: to count them for all
    /// would let anybody void the codes of others, and a code has 150 bits.
    pub async fn with_code(&self, email: &Email, code: &str) -> Result<Option<SignUp>> {
        let (code, now) = (code_hash(email, code), self.clock.seconds());
        // Time to live removes items late, so the time is compared here as well (R38).
        let kept = self.kept(email).await?.into_values().filter(|one| is_before(one, "expiresAt", now));
        Ok(kept.into_iter().find_map(|one| sign_up(&one, &code)))
    }

    /// Everything about an address, by sort key.
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

/// What is kept of a code. Bound to purpose and address, so that it is good for nothing else.
pub fn code_hash(email: &Email, code: &str) -> String {
    id::sha256(format!("signup:{}:{code}", email.as_str()).as_bytes())
}

/// What is kept of a sign-up's token, bound in the same way.
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

/// The sign-up in an item, if this is the hash of its code.
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
