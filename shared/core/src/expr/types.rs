//! What an expression may speak of: the fields of a collection and their kinds, and the five rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The fields every record has, kept by the server and never written by a client.
pub const SYSTEM_FIELDS: [&str; 4] = ["id", "createdAt", "updatedAt", "version"];

/// Whether the server keeps this field of every record.
pub fn is_system(field: &str) -> bool {
    SYSTEM_FIELDS.contains(&field)
}

/// The kind of value a field holds, as far as expressions and indexes care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer or any other number: one order for all.
    Number,
    /// A boolean.
    Flag,
    /// A point in time, RFC 3339 in UTC with milliseconds, so that text order is time order.
    Moment,
    /// An array of one kind.
    List(Box<Kind>),
    /// Objects, mixed arrays, mixed types: only `has` and `changed` apply.
    Other,
}

impl Kind {
    /// Whether a value of this kind can be compared, sorted and indexed.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Text | Self::Number | Self::Flag | Self::Moment)
    }

    /// The kind in a sentence.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "a boolean",
            Self::Moment => "a time",
            Self::List(_) => "a list",
            Self::Other => "an object or of mixed type",
        }
    }
}

/// What an expression needs to know of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// The kind of its values.
    pub kind: Kind,
    /// Whether `null` is among its values.
    pub nullable: bool,
    /// Whether clients never see it: rules may use it, filters and sorts may not.
    pub hidden: bool,
    /// Whether clients never write it.
    pub read_only: bool,
}

impl FieldType {
    /// A visible, writable field of this kind that is never `null`.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, nullable: false, hidden: false, read_only: false }
    }
}

/// The fields of a collection, the system's own included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTypes(BTreeMap<String, FieldType>);

impl FieldTypes {
    /// These fields, and the four every record has.
    pub fn new(fields: impl IntoIterator<Item = (String, FieldType)>) -> Self {
        let system =
            [("id", Kind::Text), ("createdAt", Kind::Moment), ("updatedAt", Kind::Moment), ("version", Kind::Number)];
        let mut all: BTreeMap<String, FieldType> = fields.into_iter().collect();
        all.extend(system.map(|(name, kind)| (name.to_owned(), FieldType::plain(kind))));
        Self(all)
    }

    /// The field of that name, hidden or not.
    pub fn get(&self, name: &str) -> Option<&FieldType> {
        self.0.get(name)
    }

    /// The field of that name, unless it is hidden.
    pub fn visible(&self, name: &str) -> Option<&FieldType> {
        self.get(name).filter(|field| !field.hidden)
    }
}

/// What a collection has rules for. A rule that is absent means admins only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Finding records.
    List,
    /// Reading one by id.
    Read,
    /// Making one.
    Create,
    /// Changing one.
    Update,
    /// Removing one.
    Delete,
    /// Bringing one back that somebody else has deleted. Absent: admins, as ever; whoever deleted it may besides.
    Undelete,
    /// Pointing at one from another record, for those who may not read it. Whoever may read it may point at it anyway.
    Refer,
}

impl Rule {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 7] =
        [Self::List, Self::Read, Self::Create, Self::Update, Self::Delete, Self::Undelete, Self::Refer];

    /// The rule's name in a definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Refer => "refer",
        }
    }

    /// Whether a stored record is at hand when the rule is asked.
    pub fn knows_record(self) -> bool {
        self != Self::Create
    }

    /// Whether something is being written when the rule is asked.
    pub fn knows_input(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }
}
