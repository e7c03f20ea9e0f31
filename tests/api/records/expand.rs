//! `expand`: related records, under the rules of their collections, for one round trip a level.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};

const POSTS: &str = "/v1/collections/posts/records";

/// Companies that everybody reads; authors, some private, with a hidden relation; posts; comments found by post; notes found by
/// owner and post; tags that no index finds; a vault for admins.
async fn blog(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    let text = json!({ "type": "string" });
    let to = |collection: &str| json!({ "type": "string", "relation": { "collection": collection } });
    let anyone = json!({ "read": "true", "list": "true", "create": "true", "update": "true" });
    let mut own = anyone.clone();
    own["list"] = json!("record.owner == auth.id");
    for (name, properties, indexes, rules) in [
        ("companies", json!({ "name": text }), json!([]), anyone.clone()),
        (
            "authors",
            json!({ "name": text, "isPublic": { "type": "boolean" }, "company": to("companies"),
                    "boss": { "type": "string", "hidden": true, "relation": { "collection": "companies" } },
                    "salary": { "type": "integer", "hidden": true } }),
            json!([]),
            json!({ "read": "record.isPublic", "create": "true", "update": "true" }),
        ),
        (
            "posts",
            // An author can be deleted; until the cascade runs, posts point at a deleted record.
            json!({ "title": text, "parent": to("posts"), "safe": to("vault"),
                    "author": { "type": "string", "relation": { "collection": "authors", "onDelete": "setNull" } } }),
            json!([{ "name": "by_author", "partition": ["author"], "sort": ["title"] }]),
            anyone.clone(),
        ),
        (
            "comments",
            json!({ "text": text, "post": to("posts"), "by": to("authors") }),
            json!([{ "name": "by_post", "partition": ["post"], "sort": ["text"] }]),
            anyone.clone(),
        ),
        (
            "notes",
            json!({ "text": text, "owner": text, "post": to("posts") }),
            json!([{ "name": "mine", "partition": ["owner"], "sort": ["post"] }]),
            own,
        ),
        ("tags", json!({ "post": to("posts") }), json!([]), anyone),
        (
            "vault",
            json!({ "code": text, "post": to("posts") }),
            json!([{ "name": "by_post", "partition": ["post"], "sort": [] }]),
            json!({}),
        ),
    ] {
        // The vault and the posts point at each other: the posts learn of it once it is there.
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        let mut body = json!({ "name": name, "schema": schema, "indexes": indexes, "rules": rules });
        let safe = body["schema"]["properties"].as_object_mut().unwrap().remove("safe");
        admin.put(&format!("/v1/collections/{name}"), body.clone()).await.expect(201);
        if let Some(safe) = safe {
            assert_eq!(safe["relation"]["collection"], "vault");
        }
    }
    let mut posts = admin.get("/v1/collections/posts").await.expect(200).body;
    posts["schema"]["properties"]["safe"] = to("vault");
    admin.put("/v1/collections/posts", as_put(&posts)).await.expect(200);
    world.advance(std::time::Duration::from_secs(6));
    admin
}

/// A definition without what the server keeps in it.
fn as_put(definition: &Value) -> Value {
    let mut put: Value =
        ["name", "schema", "indexes", "rules"].iter().map(|name| (*name, definition[*name].clone())).collect();
    for index in put["indexes"].as_array_mut().unwrap() {
        index.as_object_mut().unwrap().remove("ready");
    }
    put
}

async fn make(caller: &Caller<'_>, collection: &str, body: Value) -> Value {
    caller.post(&format!("/v1/collections/{collection}/records"), body).await.expect(201).body
}

async fn posts(caller: &Caller<'_>, query: &str) -> Answer {
    caller.get(&format!("{POSTS}?{query}")).await
}

#[tokio::test]
async fn relations_are_expanded_forward_and_back_and_two_deep_in_one_answer() {
    let world = World::new().await;
    let admin = blog(&world).await;
    let ada = world.user("ada").await;
    let company = make(&ada, "companies", json!({ "name": "Analytical Engines" })).await;
    let author = make(&ada, "authors", json!({ "name": "Ada", "isPublic": true, "company": company["id"] })).await;
    let first = make(&ada, "posts", json!({ "title": "first", "author": author["id"] })).await;
    world.advance(std::time::Duration::from_millis(5));
    let second = make(&ada, "posts", json!({ "title": "second", "parent": first["id"] })).await;
    let mut comments = Vec::new();
    for text in ["a", "b", "c"] {
        comments.push(make(&ada, "comments", json!({ "text": text, "post": first["id"], "by": author["id"] })).await);
    }
    let mine = make(&ada, "notes", json!({ "text": "mine", "owner": ada.id(), "post": first["id"] })).await;
    make(&ada, "notes", json!({ "text": "another's", "owner": "bob", "post": first["id"] })).await;

    let asked = "limit=9&expand=author.company,comments_via_post:2.by,parent,notes_via_post";
    let listed = posts(&ada, asked).await.expect(200).body;
    let mut with_company = author.clone();
    with_company["expanded"] = json!({ "company": company });
    let by = |comment: &Value| {
        let mut comment = comment.clone();
        comment["expanded"] = json!({ "by": author });
        comment
    };
    let (mut one, mut two) = (first.clone(), second.clone());
    one["expanded"] = json!({ "author": with_company, "comments_via_post": [by(&comments[0]), by(&comments[1])],
                              "parent": null, "notes_via_post": [mine] });
    two["expanded"] = json!({ "author": null, "comments_via_post": [], "parent": first, "notes_via_post": [] });
    assert_eq!(listed["items"], json!([one, two]));

    // The same of one record by its id; a record in `expanded` shows nothing of what was not asked of it.
    let path = format!("{POSTS}/{}", first["id"].as_str().unwrap());
    let of_one = asked.trim_start_matches("limit=9&");
    assert_eq!(ada.get(&format!("{path}?{of_one}")).await.expect(200).body, one);
    // `fields` cuts the record and leaves what was expanded, even along a field it cuts.
    let cut = posts(&ada, "limit=1&fields=title&expand=author").await.expect(200).body["items"][0].clone();
    assert_eq!(cut, json!({ "id": first["id"], "title": "first", "expanded": { "author": author } }));
    // A cycle: two levels, and each record is shown every time it is reached.
    let round = posts(&ada, "limit=1&expand=author.posts_via_author,comments_via_post:1.post").await.expect(200).body;
    let expanded = &round["items"][0]["expanded"];
    assert_eq!(expanded["author"]["expanded"]["posts_via_author"], json!([first]));
    assert_eq!(expanded["comments_via_post"][0]["expanded"]["post"], first);
    // Without `expand` there is no `expanded`.
    assert_eq!(posts(&ada, "").await.expect(200).body["items"], json!([first, second]));
    drop(admin);
}

#[tokio::test]
async fn records_the_caller_may_not_see_are_expanded_like_missing_ones() {
    let world = World::new().await;
    let admin = blog(&world).await;
    let ada = world.user("ada").await;
    let private = json!({ "name": "CANARY", "isPublic": false, "salary": 471_147_114_711_u64 });
    let (hidden, gone) = (make(&ada, "authors", private.clone()).await, make(&ada, "authors", private).await);
    let shown =
        make(&admin, "authors", json!({ "name": "Shown", "isPublic": true, "salary": 471_147_114_711_u64 })).await;
    let safe = make(&admin, "vault", json!({ "code": "CANARY" })).await;
    let mut made = Vec::new();
    for (title, author) in [("hidden", &hidden), ("gone", &gone), ("shown", &shown)] {
        made.push(make(&admin, "posts", json!({ "title": title, "author": author["id"], "safe": safe["id"] })).await);
    }
    make(&admin, "vault", json!({ "code": "CANARY", "post": made[0]["id"] })).await;
    admin.delete(&format!("/v1/collections/authors/records/{}", gone["id"].as_str().unwrap())).await.expect(204);

    let seen = async |caller: &Caller<'_>, nth: usize, expand: &str| {
        let path = format!("{POSTS}/{}", made[nth]["id"].as_str().unwrap());
        caller.get(&format!("{path}?expand={expand}")).await.expect(200)
    };
    // A hidden and a deleted record get the same answer without a cost.
    for caller in [&ada, &world.stranger()] {
        for nth in [0, 1] {
            let answer = seen(caller, nth, "author.company,safe").await;
            assert_eq!(answer.body["expanded"], json!({ "author": null, "safe": null }));
            assert!(!answer.headers.contains_key("undercroft-cost"), "what it cost would tell");
            assert!(!answer.text.contains("CANARY"));
        }
    }
    let answer = seen(&ada, 2, "author").await;
    assert_eq!(answer.body["expanded"]["author"]["name"], "Shown");
    assert!(!answer.text.contains("471147114711"), "hidden fields stay hidden: {}", answer.text);
    // Authors have hidden fields, so only admins see their cost.
    assert!(!answer.headers.contains_key("undercroft-cost"));
    assert_eq!(seen(&admin, 2, "author").await.cost().2, 2);
    let whole = seen(&admin, 0, "author,safe").await;
    assert_eq!(
        (&whole.body["expanded"]["author"]["salary"], whole.text.matches("CANARY").count()),
        (&json!(471_147_114_711_u64), 2)
    );

    // A collection that may not be listed is not there to be expanded back from; nor is a hidden field's relation.
    let refusal = async |caller: &Caller<'_>, expand: &str| {
        let mut answer = posts(caller, &format!("expand={expand}")).await.expect(400);
        answer.body["requestId"] = Value::Null;
        assert!(!answer.headers.contains_key("undercroft-cost") || caller.id() == admin.id());
        answer.body["detail"].as_str().unwrap().replace(expand, "X")
    };
    let nowhere = refusal(&ada, "vault_via_nowhere").await;
    for closed in ["vault_via_post", "nothing_via_post", "authors_via_company", "author.boss"] {
        let reported = refusal(&ada, closed).await;
        let reported = reported.replace("`boss`", "`X`").replace("column 8", "column 1");
        assert_eq!(reported, nowhere, "{closed}");
    }
    assert_eq!(seen(&admin, 0, "vault_via_post").await.body["expanded"]["vault_via_post"][0]["code"], "CANARY");
}

#[tokio::test]
async fn an_invalid_expand_is_refused_with_its_column_and_costs_nothing() {
    let world = World::new().await;
    blog(&world).await;
    let ada = world.user("ada").await;
    posts(&ada, "expand=author,parent,comments_via_post").await.expect(200);
    for (expand, says) in [
        ("", "column 1: A relation's name"),
        ("title", "column 1: There is no relation `title`"),
        ("author,nothing", "column 8: There is no relation `nothing`"),
        ("author.name", "column 8: There is no relation `name`"),
        ("author.company.x", "column 16: A path follows at most 2"),
        ("author,author", "column 8: `author` is named twice"),
        ("author:3", "column 1: `author` leads to one record"),
        ("comments_via_post:21", "column 19: A limit must be a number from 1 to 20"),
        ("comments_via_by", "column 1: There is no relation"),
        ("_via_", "column 1: There is no relation"),
        ("comments_via_post:20,comments_via_post:1", "two limits"),
        ("%23author", "column 1: A relation's name"),
        ("author[name]", "column 1: A relation's name"),
        ("comments_via_post:20", "This could expand 600 records"),
        ("comments_via_post:10.by", "This could expand 600 records"),
    ] {
        let refused = posts(&ada, &format!("expand={expand}")).await.expect(400);
        assert_eq!(refused.code(), "expand");
        assert!(refused.body["detail"].as_str().unwrap().contains(says), "{expand}: {}", refused.text);
    }
    posts(&ada, "limit=25&expand=comments_via_post:20").await.expect(200);
    posts(&ada, "expand=author&expand=parent").await.expect(400);
    // A record's own field `expanded` is not overwritten.
    let own = json!({ "name": "own", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "expanded": { "type": "string" }, "post": { "type": "string", "relation": { "collection": "posts" } } } },
        "rules": { "list": "true" } });
    world.admin().await.put("/v1/collections/own", own).await.expect(201);
    let refused = ada.get("/v1/collections/own/records?expand=post").await.expect(400);
    assert!(refused.body["detail"].as_str().unwrap().contains("own has its own field `expanded`"), "{}", refused.text);
}

#[tokio::test]
async fn an_ambiguous_relation_name_is_refused() {
    let world = World::new().await;
    let admin = blog(&world).await;
    let mut posts_too = admin.get("/v1/collections/posts").await.expect(200).body;
    let to = json!({ "type": "string", "relation": { "collection": "posts" } });
    posts_too["schema"]["properties"]["comments_via_post"] = to;
    admin.put("/v1/collections/posts", as_put(&posts_too)).await.expect(200);
    world.advance(std::time::Duration::from_secs(6));
    let refused = posts(&world.user("ada").await, "expand=comments_via_post").await.expect(400);
    assert!(refused.body["detail"].as_str().unwrap().contains("more than one relation"), "{}", refused.text);
}

#[tokio::test]
async fn a_back_relation_that_no_index_serves_is_refused_naming_the_collection_and_the_index() {
    let world = World::new().await;
    blog(&world).await;
    let ada = world.user("ada").await;
    make(&ada, "posts", json!({ "title": "t" })).await;
    posts(&ada, "").await.expect(200);
    let refused = posts(&ada, "expand=author,tags_via_post").await.expect(422);
    assert_eq!((refused.code(), &refused.body["collection"]), ("index_required", &json!("tags")));
    assert_eq!(refused.body["addIndex"], json!({ "name": "by_post", "partition": ["post"], "sort": [] }));
    assert!(
        refused.body["detail"].as_str().unwrap().contains("column 8: `tags_via_post` lists tags"),
        "{}",
        refused.text
    );

    // With explain it reports the same with status 200.
    let explained = posts(&ada, "explain=true&expand=author,tags_via_post").await.expect(200).body;
    assert_eq!(explained["expand"]["refused"]["addIndex"], refused.body["addIndex"]);
    assert_eq!(explained["expand"]["refused"]["detail"], refused.body["detail"]);
    assert_eq!(explained["expand"]["refused"]["status"], 422);
    let unserved = "filter=title%20%3D%3D%20%22x%22&sort=-title";
    let refused = posts(&ada, unserved).await.expect(422).body;
    let explained = posts(&ada, &format!("{unserved}&explain=true")).await.expect(200);
    assert_eq!(explained.cost().2, 0);
    for member in ["status", "code", "detail", "addIndex"] {
        assert_eq!(explained.body["refused"][member], refused[member], "{member}");
    }
    // Other errors remain errors with explain.
    posts(&ada, "explain=true&filter=nothing%20%3D%3D%201").await.expect(400);
    posts(&ada, "explain=true&expand=nothing").await.expect(400);
}

#[tokio::test]
async fn explain_states_the_cost_of_a_page_and_its_expansions() {
    let world = World::new().await;
    blog(&world).await;
    let ada = world.user("ada").await;
    let explained =
        posts(&ada, "explain=true&limit=20&expand=author.company,comments_via_post:5").await.expect(200).body;
    let said = |value: &Value| ["trips", "items", "mostItems", "rruAt1kb"].map(|name| value[name].as_f64().unwrap());
    assert_eq!(said(&explained["expected"]), [1.0, 21.0, 1021.0, 3.0]);
    let ways = explained["expand"].as_array().unwrap();
    let paths: Vec<&str> = ways.iter().map(|way| way["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["author", "author.company", "comments_via_post"]);
    assert_eq!(said(&ways[0]["expected"]), [1.0, 20.0, 20.0, 10.0]);
    assert_eq!((&ways[2]["eachOf"], &ways[2]["plan"]["ranges"][0]["index"]), (&json!(20), &json!("by_post")));
    assert_eq!(said(&ways[2]["expected"])[..2], [1.0, 6.0]);
    // The explained cost is the real cost.
    for nth in 0..20 {
        make(&ada, "posts", json!({ "title": format!("{nth}{}", "x".repeat(900)) })).await;
    }
    let page = posts(&ada, "limit=19&fields=id").await.expect(200);
    posts(&ada, "limit=20&fields=id").await.expect(200);
    let cost = posts(&ada, "limit=20&fields=id").await.expect(200).cost();
    assert!(page.body["nextCursor"].is_string());
    assert!(cost.2 == 1 && cost.0 <= 3.0, "{cost:?}");
    let scanned = posts(&ada, "explain=true&scan=100&filter=title.startsWith(%22x%22)").await.expect(200).body;
    assert_eq!(said(&scanned["expected"])[1..3], [31.0, 100.0]);
}

#[tokio::test]
async fn a_tag_of_an_expanded_record_changes_with_what_was_expanded() {
    let world = World::new().await;
    blog(&world).await;
    let ada = world.user("ada").await;
    let author = make(&ada, "authors", json!({ "name": "Ada", "isPublic": true })).await;
    let post = make(&ada, "posts", json!({ "title": "t", "author": author["id"] })).await;
    let path = format!("{POSTS}/{}", post["id"].as_str().unwrap());
    let expanded = format!("{path}?expand=author");
    let plain = ada.get(&path).await.expect(200).header("etag").to_owned();
    let tag = ada.get(&expanded).await.expect(200).header("etag").to_owned();
    assert_ne!(tag, plain, "another representation, another tag");
    let again = async |tag: &str| ada.request(Method::GET, &expanded).header("if-none-match", tag).send().await.status;
    assert_eq!((again(&tag).await, again(&plain).await), (304, 200));
    let author = format!("/v1/collections/authors/records/{}", author["id"].as_str().unwrap());
    ada.patch(&author, json!({ "name": "Countess" })).await.expect(200);
    assert_eq!(again(&tag).await, 200, "the post is as it was, its author is not");
    // The ETag still has the post's version, for a write.
    let patch = |tag: &str| ada.request(Method::PATCH, &path).header("if-match", tag).json(json!({ "title": "u" }));
    patch(&tag).send().await.expect(200);
    patch(&tag).send().await.expect(412);
}

#[tokio::test]
async fn a_relation_needs_an_existing_collection_and_an_index_for_its_on_delete() {
    let world = World::new().await;
    let admin = world.admin().await;
    let tree = |name: &str, to: &str, on_delete: &str, indexes: Value| {
        let parent = json!({ "type": "string", "relation": { "collection": to, "onDelete": on_delete } });
        json!({ "name": name, "indexes": indexes, "schema": { "type": "object", "additionalProperties": false,
                "properties": { "parent": parent } }, "rules": { "create": "true", "list": "true", "read": "true" } })
    };
    let refused = admin.put("/v1/collections/leaves", tree("leaves", "trees", "restrict", json!([]))).await.expect(400);
    let error = &refused.body["errors"][0];
    assert_eq!(error["pointer"], "/schema/properties/parent/relation/collection");
    assert_eq!(error["code"], "no_collection");
    admin.get("/v1/collections/leaves").await.expect(404);
    for on_delete in ["cascade", "setNull"] {
        let refused =
            admin.put("/v1/collections/trees", tree("trees", "trees", on_delete, json!([]))).await.expect(400);
        let error = &refused.body["errors"][0];
        assert_eq!(error["pointer"], "/schema/properties/parent/relation/onDelete");
        let index = error["message"].as_str().unwrap().split("`indexes`: ").nth(1).unwrap();
        let index: Value = serde_json::from_str(index).unwrap();
        let name = on_delete.to_lowercase();
        admin.put(&format!("/v1/collections/{name}"), tree(&name, &name, on_delete, json!([index]))).await.expect(201);
    }
    // A collection may point at itself, and be followed both ways.
    let root = make(&admin, "cascade", json!({})).await;
    let leaf = make(&admin, "cascade", json!({ "parent": root["id"] })).await;
    let path = format!("/v1/collections/cascade/records/{}", root["id"].as_str().unwrap());
    let found = admin.get(&format!("{path}?expand=cascade_via_parent.parent,parent")).await.expect(200).body;
    assert_eq!(found["expanded"]["cascade_via_parent"][0]["id"], leaf["id"]);
    assert_eq!(found["expanded"]["cascade_via_parent"][0]["expanded"]["parent"], root);
    assert_eq!(found["expanded"]["parent"], Value::Null);
}

#[tokio::test]
async fn a_user_profile_is_expanded_only_for_its_owner() {
    let world = World::new().await;
    crate::records::crud::with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    crate::records::crud::task(&ada, "t").await;
    let tasks = async |caller: &Caller<'_>, expand: &str| {
        caller.get(&format!("{}?expand={expand}", crate::records::crud::TASKS)).await.expect(200).body["items"][0]
            .clone()
    };
    assert_eq!(tasks(&ada, "owner").await["expanded"]["owner"]["email"], "ada@example.org");
    assert_eq!(tasks(&admin, "owner").await["expanded"]["owner"]["email"], "ada@example.org");
    let back =
        admin.get(&format!("/v1/collections/users/records/{}?expand=tasks_via_owner", ada.id())).await.expect(200);
    assert_eq!(back.body["expanded"]["tasks_via_owner"][0]["title"], "t");
    let own = ada.get(&format!("/v1/collections/users/records/{}?expand=tasks_via_owner", ada.id())).await.expect(200);
    assert_eq!(own.body["expanded"], back.body["expanded"]);
}
