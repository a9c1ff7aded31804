//! The description of the API says what the API does.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    http::{Service, on_sqlite},
    resource::{NOUNS, body},
};

async fn description(service: &Service) -> Value {
    let answer = service.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    answer.expect(200)
}

fn operations(description: &Value) -> impl Iterator<Item = (String, &String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter().filter(|(method, _)| method.as_str() != "parameters");
        methods.map(move |(method, operation)| (method.to_uppercase(), path, operation))
    })
}

/// Every reference in a document.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// A schema out of the description, able to follow its references.
fn validator(description: &Value, pointer: &str) -> jsonschema::Validator {
    let mut schema = description.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone();
    schema["components"] = description["components"].clone();
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &jsonschema::Validator, value: &Value) {
    let errors = validator.iter_errors(value).map(|error| error.to_string()).collect::<Vec<_>>();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

#[test]
fn each_noun_tells_how_its_copies_are_kept() {
    on_sqlite(async |service| {
        let description = description(&service).await;
        let told =
            |path: &str| description["paths"][path]["get"]["description"].as_str().unwrap_or_default().to_owned();
        assert_eq!(told("/v1/users/{id}"), "Copies are kept for CACHE_TTL.");
        assert_eq!(told("/v1/tags/{id}"), "Copies are kept for 3600 s after they were last read.");
        assert!(told("/v1/settings/{id}").contains("made anew as soon as a record was written"));
        for noun in NOUNS {
            assert!(told(&format!("{}/{{id}}", noun.path)).contains("opies are kept"), "{}", noun.path);
        }
    });
}

#[test]
fn the_description_is_whole() {
    on_sqlite(async |service| {
        let description = description(&service).await;
        assert!(description["openapi"].as_str().unwrap().starts_with("3.1."), "{}", description["openapi"]);
        assert!(!description["info"]["title"].as_str().unwrap().is_empty());
        assert!(!description["info"]["version"].as_str().unwrap().is_empty());
        let references = references(&description);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
            assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&description) {
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id), "{id} is there twice");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method} {path}");
            // Each part of the path is a parameter, and the other way round.
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let named = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let named = named.map(|parameter| parameter["name"].as_str().unwrap()).collect::<BTreeSet<_>>();
            let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(named, parts.collect::<BTreeSet<_>>(), "{method} {path}");
            for parameter in parameters {
                assert!(parameter["schema"].is_object(), "{method} {path} {parameter}");
                jsonschema::draft202012::meta::validate(&parameter["schema"]).unwrap();
            }
            assert_eq!(
                operation["requestBody"].is_object(),
                ["POST", "PUT", "PATCH"].contains(&method.as_str()) && !path.ends_with("{to}"),
                "{method} {path}"
            );
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            let problem = &responses["default"]["content"]["application/problem+json"]["schema"];
            assert!(problem.is_object(), "{method} {path} does not say how it fails");
        }
        for schema in description["components"]["schemas"].as_object().unwrap().values() {
            jsonschema::draft202012::meta::validate(schema).unwrap();
        }
    });
}

#[test]
fn every_noun_is_described() {
    on_sqlite(async |service| {
        let description = description(&service).await;
        let methods = |path: &str| {
            let described = operations(&description).filter(|(_, described, _)| *described == path);
            described.map(|(method, ..)| method).collect::<BTreeSet<_>>()
        };
        let set = |methods: &[&str]| methods.iter().map(|&method| method.to_owned()).collect::<BTreeSet<_>>();
        let names = |path: &str, method: &str| {
            let parameters = description["paths"][path][method]["parameters"].as_array().unwrap();
            parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect::<BTreeSet<_>>()
        };
        for noun in NOUNS {
            let member = format!("{}/{{id}}", noun.path);
            assert_eq!(methods(noun.path), set(&["GET", "POST"]));
            let lists = names(noun.path, "get");
            for parameter in ["page_size", "page_token", "sort"] {
                assert!(lists.contains(parameter), "{} {parameter}", noun.path);
            }
            assert!(lists.iter().any(|parameter| parameter.starts_with("filter[")), "{}", noun.path);
            assert!(names(noun.path, "post").contains("Idempotency-Key"));
            match noun.patch {
                Some(_) => {
                    assert_eq!(methods(&member), set(&["GET", "PATCH", "DELETE"]));
                    assert!(names(&member, "patch").contains("If-Match"));
                    assert!(names(&member, "delete").contains("If-Match"));
                }
                None => assert_eq!(methods(&member), set(&["GET"])),
            }
        }
        assert_eq!(methods("/v1/users/{id}/profile"), set(&["GET", "PUT", "DELETE"]));
        assert_eq!(methods("/v1/contents/{id}/tags"), set(&["GET", "PUT"]));
        assert_eq!(methods("/v1/contents/{id}/tags/{to}"), set(&["PUT", "DELETE"]));
        // And what the table does not know has a test of its own.
        let collections = operations(&description).filter(|(method, ..)| method == "POST").map(|(_, path, _)| path);
        for path in collections.filter(|path| NOUNS.iter().all(|noun| noun.path != path.as_str())) {
            let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/it")).unwrap();
            let mut files = files.map(|file| file.unwrap().path()).filter(|file| file.is_file());
            let is_posted =
                |text: String| ["post", "create"].iter().any(|how| text.contains(&format!("{how}(\"{path}\"")));
            assert!(files.any(|file| is_posted(fs::read_to_string(file).unwrap())), "{path} has no test");
        }
    });
}

#[test]
fn every_described_operation_is_served() {
    on_sqlite(async |service| {
        let description = description(&service).await;
        let id = uuid::Uuid::nil().to_string();
        for (method, path, _) in operations(&description) {
            let path = path.replace("{id}", &id).replace("{to}", &id);
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let answer = crate::http::send(service.request(method.clone(), &path)).await;
            assert!(answer.status != 405, "{method} {path} is not served");
            if answer.status >= 400 {
                let problem = answer.problem(answer.status, answer.json()["code"].as_str().unwrap());
                assert_ne!(problem.0["detail"], "there is nothing at this address", "{method} {path}");
                assert_valid(&validator(&description, "/components/schemas/Problem"), &problem.0);
            }
        }
    });
}

#[test]
fn bodies_are_what_the_description_says() {
    on_sqlite(async |service| {
        let description = description(&service).await;
        let schema = |path: &str, method: &str, part: &str| {
            let path = path.replace('/', "~1");
            validator(&description, &format!("/paths/{path}/{method}/{part}/content/application~1json/schema"))
        };
        for noun in NOUNS {
            let member = format!("{}/{{id}}", noun.path);
            let body = body(&service, noun.path, 1).await;
            let takes = schema(noun.path, "post", "requestBody");
            assert_valid(&takes, &body);
            let mut unknown = body.clone();
            unknown["unknown"] = json!(1);
            assert!(!takes.is_valid(&unknown) && !takes.is_valid(&json!({})), "{} takes anything", noun.path);
            let made = service.create(noun.path, &body).await;
            assert_valid(&schema(noun.path, "post", "responses/201"), &made);
            let path = format!("{}/{}", noun.path, made["id"].as_str().unwrap());
            assert_valid(&schema(&member, "get", "responses/200"), &service.get(&path).await.expect(200));
            assert_valid(&schema(noun.path, "get", "responses/200"), &service.get(noun.path).await.expect(200));
            if let Some(patch) = noun.patch {
                let patch = patch(1);
                assert_valid(&schema(&member, "patch", "requestBody"), &patch);
                let changed = service.patch(&path, 1, &patch).await.expect(200);
                assert_valid(&schema(&member, "patch", "responses/200"), &changed);
            }
        }
    });
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    on_sqlite(async |service| {
        let page = service.get("/docs").await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
        let html = page.text();
        assert!(html.contains("/openapi.json"));
        for tag in html.split('<').map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
            if !["script", "link", "img", "iframe", "object", "embed", "source"].contains(&name.as_str()) {
                continue;
            }
            let tag = tag.to_lowercase().replace(['"', '\''], "");
            for attribute in
                tag.split_whitespace().filter(|word| ["src=", "href=", "data="].iter().any(|a| word.starts_with(a)))
            {
                let (_, url) = attribute.split_once('=').unwrap();
                assert!(!url.contains("://") && !url.starts_with("//"), "the page loads {url}");
            }
        }
        assert!(!html.contains("@import"), "styles load nothing either");
    });
}
