//! Cases 28 to 37: values of the right shape that are wrong nonetheless.

use serde_json::{Value, json};
use tests::on_both;

use crate::http::{Service, on_sqlite};

on_both!(
    /// The rule: an address as in HTML, in ASCII, with a dot in its domain, at most 254 characters; kept as it was
    /// written, and unique whatever its case.
    async fn case_28_an_e_mail_address_follows_one_rule(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = |email: &str| json!({"email": email, "name": "A"});
        let of_length = |length: usize| {
            let domain = "x.".repeat(120) + "example";
            format!("{}@{domain}", "a".repeat(length - domain.len() - 1))
        };
        for email in [
            "",
            " ",
            "a",
            "@",
            "a@",
            "@example.com",
            "a@b",
            "a@b@example.com",
            " a@example.com",
            "a@example.com ",
            "a b@example.com",
            "\"a b\"@example.com",
            "\"a\"@example.com",
            "ä@example.com",
            "a@exämple.com",
            "a@пример.рф",
            "а@example.com",
            "a@[127.0.0.1]",
            "a@-example.com",
            "a@example-.com",
            "a@example..com",
            "a@example.com\n",
            "a\r\nbcc: b@example.com",
            "mailto:a@example.com",
            "A <a@example.com>",
            of_length(255).as_str(),
        ] {
            service.post("/v1/users", &user(email)).await.problem(422, "invalid").at("/email", "email");
        }
        for email in ["a+b@example.com", "a@xn--exmple-cua.com", "o'neil@example.com", of_length(254).as_str()] {
            assert_eq!(service.create("/v1/users", &user(email)).await["email"], email);
        }
        service.create("/v1/users", &user("Ada@Example.com")).await;
        for email in ["Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"] {
            service.post("/v1/users", &user(email)).await.problem(409, "duplicate").at("/email", "unique");
        }
        let found = service.get("/v1/users?filter[email]=aDA@example.com").await.expect(200);
        assert_eq!(found["items"][0]["email"], "Ada@Example.com");
    }

    /// Names that must be unique are compared, and kept, in lower case and Unicode's composed form.
    async fn case_29_one_name_in_two_forms_is_one(database: TestDatabase) {
        let service = Service::start(&database).await;
        let tag = |name: &str| json!({ "name": name });
        let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
        assert_eq!(service.create("/v1/tags", &tag(decomposed)).await["name"], composed);
        for name in [composed, decomposed, "CAF\u{c9}", "CAFE\u{301}"] {
            service.post("/v1/tags", &tag(name)).await.problem(409, "duplicate").at("/name", "unique");
            let url = format!("/v1/tags?{}", encoded("filter[name]", name));
            assert_eq!(service.get(&url).await.expect(200)["items"].as_array().unwrap().len(), 1, "{name}");
        }
        // Beyond ASCII, where the databases do not agree by themselves.
        service.create("/v1/tags", &tag("ÅNGSTRÖM")).await;
        service.post("/v1/tags", &tag("ångström")).await.problem(409, "duplicate");
        service.post("/v1/tags", &tag("\u{212b}ngström")).await.problem(409, "duplicate");
        let other = service.create("/v1/tags", &tag("other")).await;
        let path = format!("/v1/tags/{}", other["id"].as_str().unwrap());
        service.patch(&path, 1, &tag(decomposed)).await.problem(409, "duplicate").at("/name", "unique");
    }

    async fn case_30_every_character_comes_back_as_it_was(database: TestDatabase) {
        let service = Service::start(&database).await;
        let author = user(&service).await;
        for text in [
            "👩‍👩‍👧‍👦🏳️‍🌈",
            "\u{202e}right to left\u{202c}",
            "a\u{200b}b\u{200d}c\u{feff}d",
            "e\u{301} and \u{e9}",
            "\u{1f600}\u{10ffff}",
            "\u{1}\u{7f}\u{85}\u{2028}",
            "' \" \\ ` $1 ? ; -- /* %s {} <script>",
            "\u{fffd}\u{fffe}",
        ] {
            let body = json!({"author_id": author, "title": format!("t{text}t"), "body": format!("\r\n\t {text} \n")});
            let made = service.create("/v1/contents", &body).await;
            let path = format!("/v1/contents/{}", made["id"].as_str().unwrap());
            let found = service.get(&path).await.expect(200);
            assert_eq!((&found["title"], &found["body"]), (&body["title"], &body["body"]));
            assert_eq!(found, made);
        }
    }

    async fn case_31_days_and_times_that_are_none_are_refused(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = user(&service).await;
        for day in [
            "0000-00-00",
            "10000-01-01",
            "+10000-01-01",
            "-0001-01-01",
            "infinity",
            "-infinity",
            "2026-02-31",
            "2025-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "20260101",
            "2026-001",
            "",
            "today",
            " 2026-01-01",
            "2026-01-01T00:00:00Z",
            "01/02/2026",
        ] {
            let body = json!({"user_id": user, "birth_date": day});
            let problem = service.post("/v1/profiles", &body).await.problem(422, "invalid");
            problem.at("/birth_date", "format");
        }
        let path = format!("/v1/users/{}", user.as_str().unwrap());
        for time in [
            "0000-00-00T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "infinity",
            "-infinity",
            "2026-02-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:60:00Z",
            "2026-01-01T00:00:00+24:00",
            // A leap second, which no database has a place for.
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:59:60+01:00",
            // The hour that clocks in Vienna skip: without an offset no time is an instant.
            "2026-03-29T02:30:00",
            "2026-03-29T02:30:00 Europe/Vienna",
            "2026-03-29T02:30:00[Europe/Vienna]",
            "2026-01-01",
            "",
            "now",
            "1767225600",
            // In UTC these are before the year 0 and after the year 9999.
            "0000-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
        ] {
            let problem = service.patch(&path, 1, &json!({"last_active_at": time})).await.problem(422, "invalid");
            problem.at("/last_active_at", "format");
        }
        for (version, (time, instant)) in (1..).zip([
            ("2024-02-29T23:59:59.999999+14:00", "2024-02-29T09:59:59.999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ]) {
            let changed = service.patch(&path, version, &json!({"last_active_at": time})).await.expect(200);
            assert_eq!(changed["last_active_at"], instant);
            assert_eq!(service.get(&path).await.expect(200), changed);
        }
    }

    /// Money is counted in minor units, so that there is no fraction to round.
    async fn case_32_an_amount_is_never_rounded(database: TestDatabase) {
        let service = Service::start(&database).await;
        let owner = user(&service).await;
        let account = |balance: i64| json!({"owner_id": owner, "currency": "EUR", "balance": balance});
        let (from, to) = (
            service.create("/v1/accounts", &account(1_000)).await["id"].clone(),
            service.create("/v1/accounts", &account(i64::MAX - 10)).await["id"].clone(),
        );
        let transfer =
            |amount: &str| format!(r#"{{"from_account_id": {from}, "to_account_id": {to}, "amount": {amount}}}"#);
        let digits = "1234567890123456789012345678901234567890";
        for amount in [digits, "0.1", "1.000000000000000000000000000000000001", "1e3", "10.00"] {
            let problem = service.post_text("/v1/transfers", transfer(amount)).await.problem(400, "shape");
            problem.at("/amount", "type");
        }
        for amount in ["0", "-5"] {
            let problem = service.post_text("/v1/transfers", transfer(amount)).await.problem(422, "invalid");
            problem.at("/amount", "range");
        }
        // More than the receiving account can hold.
        service.post_text("/v1/transfers", transfer("11")).await.problem(409, "balance_overflow");
        service.post_text("/v1/transfers", transfer("10")).await.expect(201);
        let balance = async |id: &Value| {
            service.get(&format!("/v1/accounts/{}", id.as_str().unwrap())).await.expect(200)["balance"].clone()
        };
        assert_eq!((balance(&from).await, balance(&to).await), (json!(990), json!(i64::MAX)));
    }

    async fn case_33_an_id_has_one_form(database: TestDatabase) {
        let service = Service::start(&database).await;
        let id = user(&service).await;
        let id = id.as_str().unwrap();
        let upper = service.get(&format!("/v1/users/{}", id.to_uppercase())).await.expect(200);
        assert_eq!(upper["id"], id);
        let nil = uuid::Uuid::nil();
        service.get(&format!("/v1/users/{nil}")).await.problem(404, "not_found");
        let plain = id.replace('-', "");
        let braced = format!("%7B{id}%7D");
        let urn = format!("urn:uuid:{id}");
        for form in [plain.as_str(), &braced, &urn, &id[1..], &format!("{id}0"), &format!("{id}%20")] {
            service.get(&format!("/v1/users/{form}")).await.problem(400, "id");
            service.get(&format!("/v1/contents?filter[author_id]={form}")).await.problem(400, "query");
        }
        for form in [plain.as_str(), &format!("{{{id}}}"), &urn, &format!(" {id}")] {
            let body = json!({"author_id": form, "title": "t", "body": ""});
            service.post("/v1/contents", &body).await.problem(400, "shape").at("/author_id", "id");
        }
        let body = json!({"author_id": id.to_uppercase(), "title": "t", "body": ""});
        assert_eq!(service.create("/v1/contents", &body).await["author_id"], id);
    }
);

#[test]
fn case_34_a_word_that_is_none_of_the_allowed_is_told_those() {
    on_sqlite(async |service| {
        for role in ["owner", "Admin", "admin ", ""] {
            let body = json!({"email": "a@example.com", "name": "A", "role": role});
            let problem = service.post("/v1/users", &body).await.problem(422, "invalid");
            problem.at("/role", "value").says(r#""member", "editor", "admin""#);
        }
        let path = format!("/v1/users/{}", user(&service).await.as_str().unwrap());
        let problem = service.patch(&path, 1, &json!({"status": "dead"})).await.problem(422, "invalid");
        problem.at("/status", "value").says(r#""active", "suspended", "closed""#);
        let body = json!({"email": "a@example.com", "name": "A", "role": 1});
        service.post("/v1/users", &body).await.problem(422, "invalid").at("/role", "value");
        let problem = service.get("/v1/users?filter[role]=owner").await.problem(400, "query");
        problem.says("`member`, `editor`, `admin`");
    });
}

#[test]
fn case_35_an_address_that_could_act_is_refused() {
    on_sqlite(async |service| {
        for avatar in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,<script>",
            "file:///etc/passwd",
            "ftp://example.com/a",
            "//example.com/a",
            "https://",
            "https:",
            "/a.png",
            "example.com",
            "",
            &format!("https://example.com/{}", "a".repeat(2_048)),
        ] {
            let body = json!({"email": "a@example.com", "name": "A", "avatar": avatar});
            service.post("/v1/users", &body).await.problem(422, "invalid").at("/avatar", "url");
        }
    });
}

#[test]
fn case_36_a_list_that_is_too_long_is_refused() {
    on_sqlite(async |service| {
        let author = user(&service).await;
        let tags = vec![uuid::Uuid::nil(); 1_001];
        let body = json!({"author_id": author, "title": "t", "body": "", "tags": tags});
        service.post("/v1/contents", &body).await.problem(422, "invalid").at("/tags", "length");
        assert_eq!(service.get("/v1/contents").await.json()["items"], json!([]), "nothing is left of it");
        let fields = (0..1_001).map(|n| json!({"name": format!("f{n}"), "kind": "text"})).collect::<Vec<_>>();
        let body = json!({"name": "m", "fields": fields});
        service.post("/v1/data-models", &body).await.problem(422, "invalid").at("/fields", "length");
    });
}

#[test]
fn case_37_blank_is_neither_null_nor_a_name() {
    on_sqlite(async |service| {
        for name in ["", " ", "\t", "\u{a0}", "\u{2003}", " a", "a ", "a\n", "a\nb", "a\r\nb"] {
            service.post("/v1/users", &json!({"email": "a@example.com", "name": name})).await.problem(422, "invalid");
            service.post("/v1/tags", &json!({ "name": name })).await.problem(422, "invalid");
        }
        let body = json!({"email": "a@example.com", "name": "A", "profile": {"city": ""}});
        service.post("/v1/users", &body).await.problem(422, "invalid").at("/profile/city", "length");
        let body = json!({"email": "a@example.com", "name": "A", "profile": {"city": null, "bio": ""}});
        let user = service.create("/v1/users", &body).await;
        let profile = service.get(&format!("/v1/users/{}/profile", user["id"].as_str().unwrap())).await.expect(200);
        assert_eq!((&profile["city"], &profile["bio"]), (&Value::Null, &json!("")));
    });
}

/// The id of a new user.
async fn user(service: &Service) -> Value {
    service.create("/v1/users", &json!({"email": "owner@example.com", "name": "Owner"})).await["id"].clone()
}

fn encoded(name: &str, value: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}
