//! Rows of an import: created records, and errors of refused rows.

use super::crashes::end_by_killing;
use super::{all, file, import, lines, path, result, with_things};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use undercroft_local::Fault;

#[tokio::test]
async fn a_row_without_an_id_is_given_one_in_the_order_of_the_lines() {
    let mut world = World::new().await;
    world.work_in_slices_of(7);
    let admin = with_things(&world, &["things"]).await;
    let text: String = (0..40).map(|nth| format!("{{\"title\":\"{nth}\"}}\n\n")).collect();
    let job = import(&admin, "things", "ndjson", &text).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], 40);
    let records = all(&admin, "things").await;
    let titles: Vec<&str> = records.iter().map(|record| record["title"].as_str().unwrap()).collect();
    assert_eq!(titles, (0..40).map(|nth| nth.to_string()).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record["done"] == false), "defaults are applied");
}

#[tokio::test]
async fn rows_that_are_no_records_are_listed_by_their_line_and_the_others_are_imported() {
    let mut world = World::new().await;
    world.work_in_slices_of(4);
    let admin = with_things(&world, &["things"]).await;
    let taken = admin.post(&path("things"), json!({ "title": "t", "note": "taken" })).await.expect(201).body;
    let id = taken["id"].as_str().unwrap();
    let rows = [
        (r#"{"title":"good"}"#.to_owned(), ""),
        ("{\"title\":".into(), "malformed_json"),
        ("[1]".into(), "type"),
        (r#"{"title":1}"#.into(), "type"),
        (r#"{"note":"x"}"#.into(), "required"),
        (r#"{"title":"t","title":"u"}"#.into(), "duplicate_name"),
        (r#"{"title":"t","amount":123456789012345678901234567890123456789}"#.into(), "number_too_precise"),
        (r#"{"title":"t","unknown":null}"#.into(), "unknown_field"),
        (r#"{"title":"t","note":"taken"}"#.into(), "not_unique"),
        (format!(r#"{{"title":"t","id":"{id}"}}"#), "exists"),
        (r#"{"title":"t","id":"1"}"#.into(), "id"),
        (r#"{"title":"t","id":"ffffffff-ffff-7fff-bfff-ffffffffffff"}"#.into(), "id"),
        (r#"{"title":"t","version":3}"#.into(), "read_only"),
        (r#"{"title":"first","note":"mine"}"#.into(), ""),
        (r#"{"title":"second","note":"mine"}"#.into(), "not_unique"),
        ("\"\u{0}\"".into(), "malformed_json"),
        (format!(r#"{{"title":"{}"}}"#, "x".repeat(500_000)), "too_large"),
        (r#"{"title":"last"}"#.into(), ""),
    ];
    let text: Vec<&str> = rows.iter().map(|(row, _)| row.as_str()).collect();
    let job = import(&admin, "things", "ndjson", &text.join("\n")).await;
    world.settle().await;
    let imported = result(&admin, &job).await;
    let expected: Vec<(u64, &str)> =
        (1..).zip(&rows).filter(|(_, (_, code))| !code.is_empty()).map(|(line, (_, code))| (line, *code)).collect();
    let codes = |refused: &[Value]| -> Vec<(u64, String)> {
        let each = refused.iter();
        each.map(|it| (it["line"].as_u64().unwrap(), it["errors"][0]["code"].as_str().unwrap().to_owned())).collect()
    };
    let expected: Vec<(u64, String)> = expected.into_iter().map(|(line, code)| (line, code.to_owned())).collect();
    assert_eq!(codes(imported["errors"].as_array().unwrap()), expected, "{imported}");
    assert_eq!(codes(&lines(&file(&imported).await)), expected);
    assert_eq!((&imported["imported"], &imported["refused"]), (&json!(3), &json!(expected.len())));
    let titles: BTreeSet<String> =
        all(&admin, "things").await.iter().map(|record| record["title"].as_str().unwrap().to_owned()).collect();
    assert_eq!(titles, ["first", "good", "last", "t"].map(str::to_owned).into());
}

#[tokio::test]
async fn rows_of_csv_are_read_by_the_header_and_the_schema() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let text = "\u{feff}title,amount,done,at,tags,note\r\n\
                one,1.50,TRUE,2026-03-01T12:00:00Z,\"[\"\"a\"\",\"\"b\"\"]\",null\r\n\
                \r\n\
                \"two\nlines\",,,,,\r\n\
                three,abc,yes,,,\r\n\
                four,1\r\n\
                fi\"ve,,,,,\r\n\
                \"\",,,not a time,[],\r\n\
                \"\",,,,[],\"\"";
    let job = import(&admin, "things", "csv", text).await;
    world.settle().await;
    let imported = result(&admin, &job).await;
    let reported: Vec<(u64, Vec<&str>)> = imported["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let errors = it["errors"].as_array().unwrap().iter();
            (it["line"].as_u64().unwrap(), errors.map(|error| error["pointer"].as_str().unwrap()).collect())
        })
        .collect();
    assert_eq!(
        reported,
        [(6, vec!["/amount", "/done"]), (7, vec![""]), (8, vec![""]), (9, vec!["/at", "/at"])],
        "{imported}"
    );
    let mut records = all(&admin, "things").await;
    for record in &mut records {
        record.as_object_mut().unwrap().retain(|name, _| !undercroft::expr::is_system(name));
    }
    let one = json!({ "title": "one", "amount": 1.5, "done": true, "at": "2026-03-01T12:00:00.000Z", "tags": ["a", "b"], "note": null });
    let two = json!({ "title": "two\nlines", "done": false });
    assert_eq!(records, [one, two, json!({ "title": "", "done": false, "tags": [], "note": "" })]);
}

#[tokio::test]
async fn a_file_that_is_no_csv_in_utf_8_says_what_it_is() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let text = "title,amount\r\none,1\r\n";
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (format, bytes, message) in [
        ("csv", utf_16(&format!("\u{feff}{text}")), "The file is in UTF-16, not text in UTF-8. Save it as UTF-8"),
        ("csv", utf_16(text), "The file is in UTF-16"),
        ("ndjson", utf_16("\u{feff}{\"title\":\"one\"}"), "The file is in UTF-16"),
        ("csv", b"PK\x03\x04\x14\0".to_vec(), "a ZIP archive, as spreadsheets are"),
        ("csv", b"\x1f\x8b\x08\0\0".to_vec(), "compressed by gzip"),
        (
            "csv",
            b"gr\xf6\xdfe,title\r\n1,x\r\n".to_vec(),
            "The first row must be a header in CSV. The row is not UTF-8.",
        ),
        ("csv", b"\"title,amount\r\none,1\r\n".to_vec(), "A quoted cell has no closing quote."),
        ("csv", b"title;amount\r\none;1\r\n".to_vec(), "separated by semicolons or tabs"),
        ("csv", b"title\tamount\r\none\t1\r\n".to_vec(), "separated by semicolons or tabs"),
        ("csv", "titel,amount\r\n".into(), "The header names `titel`, which is not a field"),
    ] {
        let job = import(&admin, "things", format, &bytes).await;
        world.settle().await;
        let job = admin.get(&job).await.expect(200).body;
        assert_eq!((&job["status"], &job["attempts"]), (&json!("dead"), &json!(1)), "{message}: {job}");
        assert!(job["lastError"].as_str().unwrap().contains(message), "{message}: {job}");
    }
    assert!(all(&admin, "things").await.is_empty());
}

const UNIQUE: &str = "/v1/collections/unique/records";

/// Case A29: elsewhere the same key twice in one import made the whole statement fail. The first line has the value, the later ones are
/// refused by line, in any slices, and although the worker is killed.
#[tokio::test]
async fn of_lines_with_one_unique_value_or_id_the_first_is_imported() {
    let id = "01900000-0000-7000-8000-00000000000a";
    let mut rows: Vec<Value> = (0..300).map(|nth| json!({ "slug": format!("s{nth}"), "n": nth })).collect();
    for (line, slug) in [(290, "s2"), (10, "s9"), (11, "s9"), (60, "1"), (61, "1")] {
        rows[line]["slug"] = json!(slug);
    }
    // 1 and 1.0 are one value, and so is a default. Upper case is no id.
    (rows[100]["code"], rows[101]["code"]) = (json!(1), json!(1.0));
    (rows[110]["at"], rows[111]["at"]) = (json!("2026-03-01T12:00:00Z"), json!("2026-03-01T13:00:00+01:00"));
    (rows[20]["id"], rows[21]["id"], rows[22]["id"]) = (json!(id), json!(id), json!(id.to_uppercase()));
    // A refused line claims nothing.
    (rows[30]["slug"], rows[30]["n"], rows[31]["slug"]) = (json!("late"), json!("x"), json!("late"));
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let refused = [
        (12, "not_unique"),
        (11, "not_unique"),
        (22, "exists"),
        (23, "id"),
        (31, "type"),
        (62, "not_unique"),
        (102, "not_unique"),
        (112, "not_unique"),
        (291, "not_unique"),
    ];
    let refused: std::collections::BTreeMap<u64, String> =
        refused.into_iter().map(|(line, code)| (line, code.to_owned())).collect();
    for (slice, kills) in [(None, None), (Some(7), None), (Some(64), Some(40)), (None, Some(97))] {
        let mut world = World::new().await;
        if let Some(slice) = slice {
            world.work_in_slices_of(slice);
        }
        let admin = world.admin().await;
        let schema = json!({ "type": "object", "properties": { "slug": { "type": "string" }, "n": { "type": "integer" },
            "code": { "type": "number" }, "at": { "type": "string", "format": "date-time" } } });
        admin
            .put("/v1/collections/unique", json!({ "schema": schema, "unique": [["slug"], ["code"], ["at"]] }))
            .await
            .expect(201);
        let job = import(&admin, "unique", "ndjson", &text).await;
        match kills {
            Some(by) => drop(end_by_killing(&world, &job, by).await),
            None => world.settle().await,
        }
        let admin = world.admin().await;
        let imported = result(&admin, &job).await;
        let found = imported["errors"].as_array().unwrap().iter();
        let found: std::collections::BTreeMap<u64, String> = found
            .map(|row| (row["line"].as_u64().unwrap(), row["errors"][0]["code"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(found, refused, "{slice:?} {kills:?}");
        assert_eq!(imported["imported"], 300 - refused.len());
        let first = admin.get(&format!("{UNIQUE}/{id}")).await.expect(200).body;
        assert_eq!((&first["n"], &first["version"]), (&json!(20), &json!(1)));
        let numbers: BTreeSet<u64> = all(&admin, "unique").await.iter().map(|row| row["n"].as_u64().unwrap()).collect();
        let lines: BTreeSet<u64> = (0..300).filter(|nth| !refused.contains_key(&(nth + 1))).collect();
        assert_eq!(numbers, lines, "{slice:?} {kills:?}");
    }
}

/// The first of two equal lines also becomes the record where its write is delayed and the other's would not be.
#[tokio::test]
async fn a_delayed_write_of_the_first_line_does_not_let_the_second_win() {
    let id = "01900000-0000-7000-8000-00000000000b";
    for (operation, key, code) in
        [("TransactWriteItems", json!({ "slug": "a" }), "not_unique"), ("PutItem", json!({ "id": id }), "exists")]
    {
        let world = World::new().await;
        let admin = world.admin().await;
        let schema =
            json!({ "type": "object", "properties": { "slug": { "type": "string" }, "n": { "type": "integer" } } });
        admin.put("/v1/collections/unique", json!({ "schema": schema, "unique": [["slug"]] })).await.expect(201);
        let line = |n: u64| {
            let mut row = key.clone();
            row["n"] = json!(n);
            format!("{row}\n")
        };
        let job = import(&admin, "unique", "ndjson", [line(1), line(2)].concat()).await;
        world.cloud.faults().on(operation, 1, Fault::Throttled);
        world.settle().await;
        assert_eq!(world.cloud.faults().clear(), 0, "it failed");
        let admin = world.admin().await;
        let imported = result(&admin, &job).await;
        let refused = &imported["errors"][0];
        assert_eq!((&refused["line"], &refused["errors"][0]["code"]), (&json!(2), &json!(code)), "{imported}");
        assert_eq!(all(&admin, "unique").await[0]["n"], 1);
    }
}
