//! Cases 38 to 47: ids, lists and what is loaded along.

use api::Limits;
use domain::StoreOptions;
use reqwest::Method;
use serde_json::{Value, json};
use tests::on_both;

use crate::http::{KEY, Service, on_sqlite, send};

const NOUNS: &[&str] = &[
    "accounts",
    "contents",
    "data-models",
    "profiles",
    "relationships",
    "settings",
    "subscriptions",
    "tags",
    "transfers",
    "users",
];

on_both!(
    async fn case_38_an_id_that_is_none_is_told_from_one_that_is_unknown(database: TestDatabase) {
        let service = Service::start(&database).await;
        let unknown = uuid::Uuid::from_u128(7).to_string();
        for noun in NOUNS {
            for id in ["0", "-1", "1", "9223372036854775808", "abc", "null", "undefined", "'%20OR%201=1--"] {
                service.get(&format!("/v1/{noun}/{id}")).await.problem(400, "id");
            }
            service.get(&format!("/v1/{noun}/{unknown}")).await.problem(404, "not_found").says(&unknown);
            if *noun == "transfers" {
                continue;
            }
            let path = format!("/v1/{noun}/{unknown}");
            service.patch(&path, 1, &json!({})).await.problem(404, "not_found");
            service.delete(&path, 1).await.problem(404, "not_found");
            service.patch(&format!("/v1/{noun}/0"), 1, &json!({})).await.problem(400, "id");
            service.delete(&format!("/v1/{noun}/0"), 1).await.problem(400, "id");
        }
        for path in [format!("/v1/users/{unknown}/profile"), format!("/v1/contents/{unknown}/tags")] {
            service.get(&path).await.problem(404, "not_found");
        }
        let link = format!("/v1/contents/{unknown}/tags/{unknown}");
        send(service.request(Method::PUT, &link)).await.problem(404, "not_found");
        send(service.request(Method::PUT, &format!("/v1/contents/0/tags/{unknown}"))).await.problem(400, "id");
        send(service.request(Method::PUT, &format!("/v1/contents/{unknown}/tags/0"))).await.problem(400, "id");
        send(service.request(Method::DELETE, &format!("/v1/contents/{unknown}/tags/0"))).await.problem(400, "id");
    }
);

#[test]
fn case_40_a_page_has_a_sensible_size() {
    on_sqlite(async |service| {
        for noun in NOUNS {
            for size in ["0", "-1", "201", "1000000000", "4294967296", "1.5", "", "all", "%2B", "0x10", "%201"] {
                let problem = service.get(&format!("/v1/{noun}?page_size={size}")).await.problem(400, "query");
                problem.says("1 to 200");
            }
            service.get(&format!("/v1/{noun}?page_size=200")).await.expect(200);
        }
    });
}

#[test]
fn case_41_pages_are_not_counted_off() {
    on_sqlite(async |service| {
        for parameter in ["offset=1000000000000", "offset=0", "page=2", "limit=10", "skip=1", "Page_Size=1"] {
            let problem = service.get(&format!("/v1/tags?{parameter}")).await.problem(400, "query");
            problem.says("known are page_size, page_token, sort, include");
        }
    });
}

on_both!(
    async fn case_42_a_page_token_of_anything_else_is_refused(database: TestDatabase) {
        let service = Service::start(&database).await;
        for name in ["a", "b", "c"] {
            service.create("/v1/tags", &json!({ "name": name })).await;
        }
        let first = service.get("/v1/tags?page_size=1&sort=name").await.expect(200);
        let token = first["next_page_token"].as_str().unwrap();
        let next = async |query: &str, token: &str| {
            service.get(&format!("/v1/tags?page_size=1&{query}&page_token={token}")).await
        };
        assert_eq!(next("sort=name", token).await.expect(200)["items"][0]["name"], "b");

        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let tampered = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            next("sort=name", &tampered).await.problem(400, "page_token");
            next("sort=name", &token[..at]).await.problem(400, "page_token");
        }
        for token in [format!("{token}A"), format!("{token}="), format!("%20{token}"), "AAAA".repeat(1_000)] {
            next("sort=name", &token).await.problem(400, "page_token");
        }
        for query in ["sort=-name", "sort=id", "sort=created_at", "sort=name&filter[name]=b"] {
            next(query, token).await.problem(400, "page_token");
        }
        service.get(&format!("/v1/users?page_size=1&page_token={token}")).await.problem(400, "page_token");

        // Instances that share the key understand each other's tokens, and others do not.
        let options = StoreOptions::new(&database.url);
        for (key, status) in [(KEY, 200), (b"another key of 32 bytes, for all", 400)] {
            let other = Service::start_on(&options, Limits::default(), key).await;
            let answer = other.get(&format!("/v1/tags?page_size=1&sort=name&page_token={token}")).await;
            assert_eq!(answer.status, status);
        }
    }
);

#[test]
fn case_43_an_order_or_a_filter_that_is_not_offered_names_those_that_are() {
    on_sqlite(async |service| {
        for sort in ["avatar", "Email", "+name", "--name", "name,email", "name desc", "1", "", "-", "password", "ctid"]
        {
            let problem = service.get(&format!("/v1/users?sort={sort}")).await.problem(400, "query");
            problem.says("must be one of id, email, name, created_at");
        }
        for filter in ["avatar", "nothing", "", "EMAIL", "email%20OR%201%3D1", "name"] {
            let problem = service.get(&format!("/v1/users?filter[{filter}]=a")).await.problem(400, "query");
            problem.says("email").says("role").says("created_before");
        }
        for (filter, value) in [("active_since", "yesterday"), ("created_after", "2026-02-31T00:00:00Z"), ("role", "")]
        {
            service.get(&format!("/v1/users?filter[{filter}]={value}")).await.problem(400, "query");
        }
        service.get("/v1/contents?filter[author_id]=1").await.problem(400, "query");
        service.get("/v1/users?email=a").await.problem(400, "query").says("the parameter email is not known");
    });
}

on_both!(
    async fn case_44_a_filter_is_a_value_and_nothing_else(database: TestDatabase) {
        let service = Service::start(&database).await;
        let nested = format!("filter{}=a", "[name]".repeat(100));
        for query in [nested.as_str(), "filter[name][like]=a", "filter=a", "filter[name=a", "filter[[name]]=a"] {
            service.get(&format!("/v1/tags?{query}")).await.problem(400, "query");
        }
        for name in ["a%b", "axb", "a_b", "a.*b", "'; drop table tags; --"] {
            service.create("/v1/tags", &json!({ "name": name })).await;
        }
        for (value, count) in [
            ("a%25b", 1),
            ("a%25", 0),
            ("%25", 0),
            ("a_b", 1),
            ("___", 0),
            ("a.*b", 1),
            (".*", 0),
            ("^a", 0),
            ("~axb", 0),
            ("'%20OR%20'1'='1", 0),
            ("';%20drop%20table%20tags;%20--", 1),
            ("", 0),
            ("null", 0),
        ] {
            let found = service.get(&format!("/v1/tags?filter[name]={value}")).await.expect(200);
            assert_eq!(found["items"].as_array().unwrap().len(), count, "{value}");
        }
    }
);

#[test]
fn case_45_an_operator_is_no_value() {
    on_sqlite(async |service| {
        for operator in [json!({"$gt": ""}), json!({"$where": "1"}), json!([{"$ne": null}]), json!({"a.b": 1})] {
            service.post("/v1/tags", &json!({ "name": operator })).await.problem(400, "shape").at("/name", "type");
            let body = json!({"email": operator, "name": "A"});
            service.post("/v1/users", &body).await.problem(400, "shape").at("/email", "type");
            let body = json!({"scope": "application", "key": "locale", "value": operator});
            service.post("/v1/settings", &body).await.problem(422, "invalid");
        }
        for key in ["$set", "a.b", "profile.bio", "$where"] {
            let body = json!({"email": "a@example.com", "name": "A", key: 1});
            service.post("/v1/users", &body).await.problem(400, "shape").at(&format!("/{key}"), "unknown");
            service.get(&format!("/v1/users?filter[{key}]=1")).await.problem(400, "query");
        }
        service.get("/v1/users?filter[email][$gt]=").await.problem(400, "query");
    });
}

#[test]
fn case_47_what_is_loaded_along_is_bounded() {
    on_sqlite(async |service| {
        let id = service.create("/v1/users", &json!({"email": "a@example.com", "name": "A"})).await["id"].clone();
        let member = format!("/v1/users/{}", id.as_str().unwrap());
        for path in ["/v1/users", &member] {
            let problem = service.get(&format!("{path}?include=contents.author.contents.author")).await;
            problem.problem(400, "query").says("at most 3");
            let circle = format!("{path}?include={}", "profile.user.".repeat(500) + "profile");
            service.get(&circle).await.problem(400, "query").says("at most 3");
            let many = vec!["profile"; 17].join(",");
            service.get(&format!("{path}?include={many}")).await.problem(400, "query").says("at most 16");
            for unknown in
                ["password", "Profile", "profile.", ".profile", "profile.nothing", "contents.tags.users", "*"]
            {
                let problem = service.get(&format!("{path}?include={unknown}")).await.problem(400, "query");
                problem.says("cannot be included");
            }
            service.get(&format!("{path}?include=contents.author.profile")).await.expect(200);
        }
        assert_eq!(service.get(&format!("{member}?include=profile")).await.json()["profile"], Value::Null);
        service.get("/v1/tags?include=contents").await.problem(400, "query").says("nothing");
    });
}
