//! Cases 18 to 27: what a body may say.

use reqwest::Method;
use serde_json::{Value, json};
use tests::on_both;

use crate::http::{Service, on_sqlite, send};

#[test]
fn case_18_deep_nesting_is_refused() {
    on_sqlite(async |service| {
        for (open, close) in [("[", "]"), (r#"{"name":"#, "}")] {
            for depth in [200, 10_000, 100_000] {
                let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                service.post_text("/v1/tags", body).await.problem(400, "json").says("recursion limit");
            }
        }
        // Also where any JSON is allowed.
        let value = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let body = format!(r#"{{"scope": "application", "key": "locale", "value": {value}}}"#);
        service.post_text("/v1/settings", body).await.problem(400, "json");
    });
}

#[test]
fn case_19_a_field_that_is_there_twice_is_refused() {
    on_sqlite(async |service| {
        for body in [
            r#"{"name": "a", "name": "b"}"#,
            r#"{"name": "a", "name": "a"}"#,
            r#"{"name": "a", "\u006eame": "b"}"#,
            r#"{"name": "a", "unknown": {"x": 1, "x": 2}}"#,
        ] {
            service.post_text("/v1/tags", body).await.problem(400, "json").says("twice");
        }
    });
}

#[test]
fn case_20_unknown_fields_are_refused_all_at_once() {
    on_sqlite(async |service| {
        let body = json!({"name": "a", "id": uuid::Uuid::nil(), "version": 7, "is_admin": true});
        let problem = service.post("/v1/tags", &body).await.problem(400, "shape");
        problem.at("/id", "unknown").at("/version", "unknown").at("/is_admin", "unknown");
        let body =
            json!({"email": "a@example.com", "name": "A", "profile": {"bio": "b", "user_id": uuid::Uuid::nil()}});
        service.post("/v1/users", &body).await.problem(400, "shape").at("/profile/user_id", "unknown");

        // Nor can what is not for clients to set be set afterwards.
        let tag = service.create("/v1/tags", &json!({"name": "a"})).await;
        let path = format!("/v1/tags/{}", tag["id"].as_str().unwrap());
        for field in ["id", "version", "created_at", "updated_at"] {
            let problem = service.patch(&path, 1, &json!({field: tag[field]})).await.problem(400, "shape");
            problem.at(&format!("/{field}"), "unknown");
        }
        assert_eq!(service.get(&path).await.json(), tag);
    });
}

#[test]
fn case_21_numbers_that_are_none_are_refused() {
    on_sqlite(async |service| {
        for number in ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "+1", ".5", "1.", "0x10", "1_000"] {
            let setting = format!(r#"{{"scope": "application", "key": "list.page_size", "value": {number}}}"#);
            service.post_text("/v1/settings", setting).await.problem(400, "json");
            service.post_text("/v1/tags", format!(r#"{{"name": {number}}}"#)).await.problem(400, "json");
        }
    });
}

#[test]
fn case_22_an_integer_is_never_rounded() {
    on_sqlite(async |service| {
        let owner = user(&service).await;
        let account = |balance: &str| format!(r#"{{"owner_id": {owner}, "currency": "EUR", "balance": {balance}}}"#);
        for balance in ["9223372036854775808", "1.0", "1.5", "1e2", "18446744073709551616"] {
            let problem = service.post_text("/v1/accounts", account(balance)).await.problem(400, "shape");
            problem.at("/balance", "type");
        }
        for balance in [r#""1""#, "true", "[1]"] {
            service.post_text("/v1/accounts", account(balance)).await.problem(400, "shape").at("/balance", "type");
        }
        for balance in ["-1", "-9223372036854775809"] {
            let problem = service.post_text("/v1/accounts", account(balance)).await.problem(422, "invalid");
            problem.at("/balance", "range");
        }
        // What a double cannot hold comes back as it was.
        for balance in [9_007_199_254_740_993_i64, i64::MAX, 0] {
            let made = service.post_text("/v1/accounts", account(&balance.to_string())).await.expect(201);
            assert_eq!(made["balance"], balance);
            let path = format!("/v1/accounts/{}", made["id"].as_str().unwrap());
            assert_eq!(service.get(&path).await.expect(200)["balance"], balance);
        }
        // Nor is one in a header or in the address.
        let path = format!("/v1/users/{}", owner.as_str().unwrap());
        for version in ["1.0", "9223372036854775808", "1e0", "one", ""] {
            let patch = service.request(Method::PATCH, &path).header("if-match", format!("\"{version}\""));
            send(patch.json(&json!({}))).await.problem(400, "if_match");
        }
        for size in ["1.0", "9007199254740993", "9223372036854775808", "1e1"] {
            service.get(&format!("/v1/users?page_size={size}")).await.problem(400, "query");
        }
    });
}

#[test]
fn case_23_a_byte_order_mark_is_refused() {
    on_sqlite(async |service| {
        let marked = "\u{feff}{\"name\": \"a\"}";
        service.post_text("/v1/tags", marked).await.problem(400, "json").says("at offset 0");
        let utf16 = marked.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        service.post_text("/v1/tags", utf16).await.problem(400, "json");
    });
}

#[test]
fn case_24_half_a_character_is_refused() {
    on_sqlite(async |service| {
        for escape in [r"\ud800", r"\udc00", r"\ud800\u0041", r"\ud83d\ud83d", r"\u12", r"\x41"] {
            service.post_text("/v1/tags", format!(r#"{{"name": "{escape}"}}"#)).await.problem(400, "json");
        }
        // Bytes that are no UTF-8: too long, a half pair, cut off.
        for bytes in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xe2\x82", b"\xff"] {
            let body = [b"{\"name\": \"", bytes, b"\"}"].concat();
            service.post_text("/v1/tags", body).await.problem(400, "json");
        }
        let whole = service.post_text("/v1/tags", r#"{"name": "\ud83d\ude00"}"#).await.expect(201);
        assert_eq!(whole["name"], "😀");
    });
}

on_both!(
    /// PostgreSQL cannot store it and SQLite can: both refuse, wherever it stands.
    async fn case_25_nul_is_refused_in_every_text(database: TestDatabase) {
        let service = Service::start(&database).await;
        let owner = user(&service).await;
        let nul = "a\0b";
        let period = "2026-01-01T00:00:00Z";
        for (path, body, pointer) in [
            ("/v1/users", json!({"email": "x@example.com", "name": nul}), "/name"),
            ("/v1/users", json!({"email": "x\0@example.com", "name": "x"}), "/email"),
            (
                "/v1/users",
                json!({"email": "x@example.com", "name": "x", "avatar": "https://example.com/\0"}),
                "/avatar",
            ),
            ("/v1/users", json!({"email": "x@example.com", "name": "x", "profile": {"bio": nul}}), "/profile/bio"),
            ("/v1/profiles", json!({"user_id": owner, "city": nul}), "/city"),
            ("/v1/contents", json!({"author_id": owner, "title": nul, "body": ""}), "/title"),
            ("/v1/contents", json!({"author_id": owner, "title": "t", "body": nul}), "/body"),
            ("/v1/tags", json!({"name": nul}), "/name"),
            ("/v1/data-models", json!({"name": nul}), "/name"),
            ("/v1/data-models", json!({"name": "m", "fields": [{"name": nul, "kind": "text"}]}), "/fields/0/name"),
            ("/v1/settings", json!({"scope": "application", "key": "locale", "value": nul}), "/value"),
            ("/v1/settings", json!({"scope": "application", "key": nul, "value": "de"}), "/key"),
            (
                "/v1/subscriptions",
                json!({"user_id": owner, "plan": nul, "period_start": period, "period_end": "2027-01-01T00:00:00Z"}),
                "/plan",
            ),
        ] {
            let problem = service.post(path, &body).await.problem(422, "invalid");
            let errors = problem.0["errors"].as_array().unwrap();
            assert!(errors.iter().any(|error| error["pointer"] == pointer), "{path} {pointer}: {}", problem.0);
        }
        let tag = service.create("/v1/tags", &json!({"name": "tag"})).await;
        let path = format!("/v1/tags/{}", tag["id"].as_str().unwrap());
        service.patch(&path, 1, &json!({"name": nul})).await.problem(422, "invalid").at("/name", "nul");
        service.post_text("/v1/tags", r#"{"na\u0000me": "a"}"#).await.problem(400, "shape");
        service.get("/v1/tags?filter[name]=a%00b").await.problem(400, "uri");
    }
);

#[test]
fn case_26_text_that_is_too_long_is_refused() {
    on_sqlite(async |service| {
        let owner = user(&service).await;
        let content = |length: usize| json!({"author_id": owner, "title": "t", "body": "x".repeat(length)});
        let long = content(10_000_000).to_string();
        let head = "POST /v1/contents HTTP/1.1\r\nhost: seabed\r\ncontent-type: application/json\r\n";
        service.raw(format!("{head}content-length: {}\r\n\r\n{long}", long.len())).await.problem(413, "body");
        service.post("/v1/contents", &content(500_001)).await.problem(422, "invalid").at("/body", "length");
        service.post("/v1/contents", &content(500_000)).await.expect(201);
        // Characters are counted, not bytes.
        let tag = |name: String| json!({ "name": name });
        service.post("/v1/tags", &tag("ü".repeat(65))).await.problem(422, "invalid").at("/name", "length");
        service.post("/v1/tags", &tag("ü".repeat(64))).await.expect(201);
    });
}

on_both!(
    async fn case_27_null_is_not_absent(database: TestDatabase) {
        let service = Service::start(&database).await;
        let problem = service.post("/v1/users", &json!({"email": null})).await.problem(400, "shape");
        problem.at("/email", "type").at("/name", "required");
        service.post_text("/v1/users", "null").await.problem(400, "shape").at("", "type");

        let avatar = "https://example.com/a.png";
        let body = json!({"email": "a@example.com", "name": "A", "avatar": avatar});
        let user = service.create("/v1/users", &body).await;
        let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
        assert_eq!(service.patch(&path, 1, &json!({"name": "B"})).await.expect(200)["avatar"], avatar);
        assert_eq!(service.patch(&path, 2, &json!({"avatar": null})).await.expect(200)["avatar"], Value::Null);
        service.patch(&path, 3, &json!({"name": null})).await.problem(400, "shape").at("/name", "type");
        service.patch(&path, 3, &json!({"role": null})).await.problem(422, "invalid").at("/role", "value");
    }
);

/// The id of a new user.
async fn user(service: &Service) -> Value {
    service.create("/v1/users", &json!({"email": "owner@example.com", "name": "Owner"})).await["id"].clone()
}
