//! The steps of a program, and how they are generated.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde_json::{Value, json};

/// A definition, as far as a program varies it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Titles have at most 8 characters instead of 20.
    pub is_narrow: bool,
    /// The rules refuse every write.
    pub is_closed: bool,
    /// No two records have the same slug.
    pub is_unique: bool,
    /// An index on the state.
    pub has_index: bool,
    /// An index over the tags, and whether it is sorted by the state.
    pub tagged: Option<bool>,
    /// The collection is counted.
    pub is_counted: bool,
    pub shards: u8,
}

impl Definition {
    pub fn body(&self) -> Value {
        let write = if self.is_closed { "false" } else { "true" };
        let by_state = json!({ "name": "by_state", "partition": ["state"], "sort": ["-createdAt"] });
        let by_tag = |sort: &str| json!({ "name": "by_tag", "partition": ["tags[]"], "sort": [sort] });
        let by_tag = self.tagged.map(|by_state| by_tag(if by_state { "state" } else { "-createdAt" }));
        let indexes: Vec<Value> = self.has_index.then_some(by_state).into_iter().chain(by_tag).collect();
        json!({
            "schema": { "type": "object", "required": ["title"], "additionalProperties": false, "properties": {
                "title": { "type": "string", "maxLength": if self.is_narrow { 8 } else { 20 } },
                "state": { "enum": ["a", "b"] },
                "slug": { "type": "string" },
                "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 3 } } },
            "unique": if self.is_unique { json!([["slug"]]) } else { json!([]) },
            "indexes": indexes,
            "counts": self.is_counted,
            "shards": self.shards,
            "rules": { "list": "true", "read": "true", "create": write, "update": write, "delete": write }
        })
    }

    /// Whether the schema takes a record with this title.
    pub fn takes(&self, title: &str) -> bool {
        title.len() <= if self.is_narrow { 8 } else { 20 }
    }
}

/// The data of a record.
#[derive(Clone, Debug)]
pub struct Data {
    pub is_long: bool,
    pub state: bool,
    pub slug: Option<u8>,
    pub tags: Vec<Tag>,
}

/// One of the tags.
#[derive(Clone, Copy, Debug)]
pub struct Tag(pub u8);

impl Tag {
    pub fn text(self) -> String {
        format!("tag{}", self.0)
    }
}

/// The tags as a member of a body.
pub fn tags(tags: &[Tag]) -> Value {
    tags.iter().map(|tag| tag.text()).collect()
}

/// What a list is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Listed {
    State(bool),
    Tag(Tag),
}

impl Data {
    /// The title also says which write it comes from.
    pub fn body(&self, nth: usize) -> Value {
        let title = if self.is_long { format!("a longer title {nth:05}") } else { format!("t{nth:05}") };
        let mut body = json!({ "title": title, "state": if self.state { "a" } else { "b" } });
        if let Some(slug) = self.slug {
            body["slug"] = json!(format!("s{slug}"));
        }
        if !self.tags.is_empty() {
            body["tags"] = tags(&self.tags);
        }
        body
    }
}

/// A write by somebody for whom the rules hold. A number chooses one of the records made so far.
#[derive(Clone, Debug)]
pub enum Write {
    Create(Data),
    PatchTitle(usize, bool),
    PatchState(usize, bool),
    PatchSlug(usize, u8),
    PatchTags(usize, Vec<Tag>),
    Replace(usize, Data),
    Delete(usize),
    Undelete(usize),
}

#[derive(Clone, Debug)]
pub enum Step {
    Put(Definition),
    /// Deletes the collection; with its records or only if it is empty.
    DeleteCollection {
        with_records: bool,
    },
    /// Writes at the same time.
    Writes(Vec<Write>),
    /// Writes and a change of the definition at the same time.
    PutAndWrites(Definition, Vec<Write>),
    Import(Vec<Data>),
    /// Tenths of a second.
    Wait(u64),
    /// Jobs run.
    Settle,
    /// Jobs run, by a worker that is killed after so many steps.
    SettleKilling(usize),
    Restart,
    List(Listed),
}

fn definition() -> impl Strategy<Value = Definition> {
    let flags = any::<[bool; 5]>();
    let tagged = prop_oneof![2 => Just(None), 2 => Just(Some(false)), 1 => Just(Some(true))];
    let shards = prop_oneof![3 => Just(1), 1 => Just(2), 1 => Just(4)];
    (flags, tagged, shards).prop_map(|(flags, tagged, shards)| {
        let [is_narrow, is_closed, is_unique, has_index, is_counted] = flags;
        Definition { is_narrow, is_closed, is_unique, has_index, tagged, is_counted, shards }
    })
}

fn open_definition() -> impl Strategy<Value = Definition> {
    definition().prop_map(|definition| Definition { is_closed: false, ..definition })
}

fn data() -> impl Strategy<Value = Data> {
    let slug = proptest::option::weighted(0.6, 0_u8..5);
    (any::<bool>(), any::<bool>(), slug, some_tags()).prop_map(|(is_long, state, slug, tags)| Data {
        is_long,
        state,
        slug,
        tags,
    })
}

fn tag() -> impl Strategy<Value = Tag> {
    (0_u8..3).prop_map(Tag)
}

fn some_tags() -> impl Strategy<Value = Vec<Tag>> {
    proptest::collection::vec(tag(), 0..4)
}

fn write() -> impl Strategy<Value = Write> {
    let nth = any::<usize>;
    prop_oneof![
        5 => data().prop_map(Write::Create),
        1 => (nth(), any::<bool>()).prop_map(|(nth, is_long)| Write::PatchTitle(nth, is_long)),
        1 => (nth(), any::<bool>()).prop_map(|(nth, state)| Write::PatchState(nth, state)),
        1 => (nth(), 0_u8..5).prop_map(|(nth, slug)| Write::PatchSlug(nth, slug)),
        2 => (nth(), some_tags()).prop_map(|(nth, tags)| Write::PatchTags(nth, tags)),
        1 => (nth(), data()).prop_map(|(nth, data)| Write::Replace(nth, data)),
        2 => nth().prop_map(Write::Delete),
        2 => nth().prop_map(Write::Undelete),
    ]
}

/// A program. It begins with a definition that takes everything.
pub fn program() -> impl Strategy<Value = Vec<Step>> {
    let writes = || proptest::collection::vec(write(), 1..5);
    let step = prop_oneof![
        2 => definition().prop_map(Step::Put),
        3 => open_definition().prop_map(Step::Put),
        1 => any::<bool>().prop_map(|with_records| Step::DeleteCollection { with_records }),
        6 => writes().prop_map(Step::Writes),
        2 => (definition(), writes()).prop_map(|(definition, writes)| Step::PutAndWrites(definition, writes)),
        1 => proptest::collection::vec(data(), 1..7).prop_map(Step::Import),
        4 => prop_oneof![Just(3), Just(20), Just(60), Just(190)].prop_map(Step::Wait),
        2 => Just(Step::Settle),
        2 => (0_usize..40).prop_map(Step::SettleKilling),
        1 => Just(Step::Restart),
        2 => prop_oneof![any::<bool>().prop_map(Listed::State), tag().prop_map(Listed::Tag)].prop_map(Step::List),
    ];
    (open_definition(), proptest::collection::vec(step, 4..28)).prop_map(|(first, mut steps)| {
        steps.insert(0, Step::Put(first));
        steps
    })
}
