//! Rows of an import: created records, and errors of refused rows.

use super::{all, file, import, lines, path, result, with_things};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
