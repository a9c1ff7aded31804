//! Documents over HTTP: the endpoints that each kind has, and what can be asked of them.

use std::{sync::Arc, time::Duration};

use domain::{OutboxPolicy, SqlDocuments, Store, document::collections};
use serde_json::{Value, json};
use tests::{PATIENCE, TestDatabase, eventually, on_both};

use crate::http::{Answer, Service};

/// A service that keeps its documents in its database, and two users.
async fn service(database: &TestDatabase) -> (Service, [Value; 2]) {
    let service = Service::start(database).await;
    let mut ids = Vec::new();
    for name in ["ada", "bob"] {
        let user = json!({ "email": format!("{name}@example.org"), "name": name });
        ids.push(service.create("/v1/users", &user).await["id"].clone());
    }
    (service, ids.try_into().unwrap())
}

fn chart(user: &Value, name: &str, date: &str, place: [f64; 2]) -> Value {
    json!({
        "user_id": user,
        "name": name,
        "birth_data": { "date": date, "place": { "type": "Point", "coordinates": place } },
        "positions": [{ "planet": "sun", "longitude": 12.5 }],
    })
}

/// A field of each document of a list.
fn column(answer: &Answer, field: &str) -> Vec<Value> {
    answer.expect(200)["items"].as_array().unwrap().iter().map(|item| item[field].clone()).collect()
}

on_both!(
    async fn a_birth_chart_is_made_found_changed_and_deleted(database: TestDatabase) {
        let (service, [ada, _]) = service(&database).await;
        let new = chart(&ada, "mine", "1990-05-17", [16.37, 48.21]);
        let answer = service.post("/v1/birth-charts", &new).await;
        let made = answer.expect(201);
        let path = answer.header("location").to_owned();
        assert_eq!(path, format!("/v1/birth-charts/{}", made["id"].as_str().unwrap()));
        assert_eq!((answer.header("etag"), &made["version"], &made["name"]), ("\"1\"", &json!(1), &json!("mine")));
        let found = service.get(&path).await;
        assert_eq!((found.expect(200), found.header("etag")), (made.clone(), "\"1\""));

        let patch = json!({ "notes": "at home", "birth_data": { "time": "06:45" } });
        let changed = service.patch(&path, 1, &patch).await.expect(200);
        assert_eq!((&changed["version"], &changed["notes"]), (&json!(2), &json!("at home")));
        let birth_data = &changed["birth_data"];
        assert_eq!((&birth_data["time"], &birth_data["date"]), (&json!("06:45"), &json!("1990-05-17")), "merged");
        let cleared = service.patch(&path, 2, &json!({ "notes": null })).await.expect(200);
        assert_eq!(cleared["notes"], json!(null));
        service.patch(&path, 2, &patch).await.problem(412, "version_conflict");
        service.delete(&path, 2).await.problem(412, "version_conflict");
        assert_eq!(service.delete(&path, 3).await.status, 204);
        service.get(&path).await.problem(404, "not_found");
    }

    async fn what_is_wrong_with_a_document_is_told(database: TestDatabase) {
        let (service, [ada, _]) = service(&database).await;
        let refused = async |path: &str, body: &Value, status, pointer: &str| {
            let problem = service.post(path, body).await;
            let errors = problem.expect(status)["errors"].clone();
            assert!(
                errors.as_array().unwrap().iter().any(|error| error["pointer"] == pointer),
                "{pointer} in {errors}"
            );
        };
        let good = chart(&ada, "mine", "1990-05-17", [16.37, 48.21]);
        let but = |pointer: &str, value: Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            bad
        };
        refused("/v1/birth-charts", &but("/birth_data/date", json!("1990-13-01")), 422, "/birth_data/date").await;
        refused("/v1/birth-charts", &but("/name", json!("")), 422, "/name").await;
        refused("/v1/birth-charts", &but("/positions", json!([])), 422, "/positions").await;
        refused("/v1/birth-charts", &but("/user_id", json!(7)), 400, "/user_id").await;
        let mut unknown = good.clone();
        unknown["positions"][0]["planett"] = json!("sun");
        refused("/v1/birth-charts", &unknown, 400, "/positions/0/planett").await;

        let insight = json!({ "user_id": ada, "date": "2026-01-31", "energy_level": 101 });
        refused("/v1/planetary-insights", &insight, 422, "/energy_level").await;
        let window = json!({ "start": "2026-01-31T12:00:00Z", "end": "2026-01-31T12:00:00Z" });
        let recommendation = json!({ "user_id": ada, "activity": "sleep", "windows": [window] });
        let problem = service.post("/v1/timing-recommendations", &recommendation).await;
        problem.problem(422, "invalid").says("must end after it begins");
    }

    async fn energy_can_be_changed_and_stays_in_its_range(database: TestDatabase) {
        let (service, [ada, _]) = service(&database).await;
        let insight = json!({ "user_id": ada, "date": "2026-01-31", "energy_level": 40 });
        let made = service.create("/v1/planetary-insights", &insight).await;
        let path = format!("/v1/planetary-insights/{}", made["id"].as_str().unwrap());
        assert_eq!(service.patch(&path, 1, &json!({ "energy_level": 85 })).await.expect(200)["energy_level"], 85);
        service.patch(&path, 2, &json!({ "energy_level": 101 })).await.problem(422, "invalid");
        let problem = service.patch(&path, 2, &json!({ "energy": 1 })).await.problem(422, "invalid");
        assert_eq!(problem.0["errors"][0]["pointer"], "/energy");
        assert_eq!(service.get(&path).await.expect(200)["version"], 2);
    }

    async fn lists_are_asked_by_fields_words_places_and_windows(database: TestDatabase) {
        let (service, [ada, bob]) = service(&database).await;
        let places = [("Wien", [16.37, 48.21]), ("Graz", [15.44, 47.07]), ("Sydney", [151.2, -33.87])];
        for (n, (name, place)) in places.into_iter().enumerate() {
            let user = if n == 1 { &bob } else { &ada };
            service.create("/v1/birth-charts", &chart(user, name, &format!("199{n}-01-01"), place)).await;
        }
        let names = async |query: &str| column(&service.get(&format!("/v1/birth-charts?{query}")).await, "name");
        assert_eq!(names("").await, ["Wien", "Graz", "Sydney"]);
        assert_eq!(names(&format!("filter[user_id]={}", ada.as_str().unwrap())).await, ["Wien", "Sydney"]);
        assert_eq!(names("filter[birth_data.date][gte]=1991-01-01&sort=-birth_data.date").await, ["Sydney", "Graz"]);
        assert_eq!(names("words=graz+wien&filter[birth_data.date][lt]=1991-01-01").await, ["Wien"]);
        assert_eq!(names("near=15.4,47.0,200000").await, ["Graz", "Wien"], "the nearest first");
        assert_eq!(names("near=15.4,47.0,20000000&sort=name").await, ["Graz", "Sydney", "Wien"]);

        let hour = |hour: u32| format!("2026-01-31T{hour:02}:00:00Z");
        let window = |start, end| json!({ "start": hour(start), "end": hour(end) });
        for (activity, windows) in [("run", json!([window(6, 8), window(18, 20)])), ("rest", json!([window(9, 17)]))] {
            let new = json!({ "user_id": ada, "activity": activity, "windows": windows, "risks": ["rain"] });
            service.create("/v1/timing-recommendations", &new).await;
        }
        let at = async |instant: &str| {
            let query = format!("filter[windows.start][lte]={instant}&filter[windows.end][gt]={instant}");
            column(&service.get(&format!("/v1/timing-recommendations?{query}")).await, "activity")
        };
        assert_eq!(at(&hour(7)).await, ["run"]);
        assert_eq!(at(&hour(12)).await, ["rest"], "one window has to hold both ends");
        assert_eq!(at(&hour(23)).await, [""; 0]);

        for bad in [
            "filter[nam]=x",
            "filter[birth_data.date]=x",
            "filter[name][like]=x",
            "near=1,2",
            "near=1,99,5",
            "sort=notes2",
            "page_size=0",
            "wordz=x",
        ] {
            service.get(&format!("/v1/birth-charts?{bad}")).await.problem(400, "query");
        }
        service.get("/v1/events?words=x").await.problem(400, "query").says("cannot be asked for here");
    }

    async fn pages_of_documents_go_on_where_the_last_ended(database: TestDatabase) {
        let (service, [ada, _]) = service(&database).await;
        for n in 0..5 {
            let insight = json!({ "user_id": ada, "date": "2026-01-31", "energy_level": n % 3 });
            service.create("/v1/planetary-insights", &insight).await;
        }
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let query = format!("/v1/planetary-insights?sort=-energy_level&page_size=2{token}");
            let page = service.get(&query).await.expect(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["energy_level"].as_i64().unwrap()));
            match page["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => break,
            }
        }
        assert_eq!(seen, [2, 1, 1, 0, 0]);
        service
            .get(&format!("/v1/planetary-insights?sort=energy_level&page_size=2{token}"))
            .await
            .problem(400, "page_token");
    }

    async fn birth_charts_are_included_with_their_users(database: TestDatabase) {
        let (service, [ada, bob]) = service(&database).await;
        for name in ["one", "two"] {
            service.create("/v1/birth-charts", &chart(&ada, name, "1990-05-17", [16.37, 48.21])).await;
        }
        let listed = service.get("/v1/users?include=birth_charts,profile&sort=name").await.expect(200);
        let charts = |n: usize| listed["items"][n]["birth_charts"].as_array().unwrap().clone();
        assert_eq!(charts(0).iter().map(|chart| chart["name"].clone()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(charts(1), Vec::<Value>::new());
        let alone = service.get(&format!("/v1/users/{}?include=birth_charts", ada.as_str().unwrap())).await.expect(200);
        assert_eq!(alone["birth_charts"], listed["items"][0]["birth_charts"]);
        assert_eq!(listed["items"][1]["id"], bob);
        // Not kept: what changes in documents is not told by the database.
        service.create("/v1/birth-charts", &chart(&bob, "three", "1990-05-17", [16.37, 48.21])).await;
        let again = service.get(&format!("/v1/users/{}?include=birth_charts", bob.as_str().unwrap())).await.expect(200);
        assert_eq!(again["birth_charts"][0]["name"], "three");
    }

    /// Nobody waits for it: it is written down with the database, and delivered after that.
    async fn events_are_recorded_delivered_and_counted(database: TestDatabase) {
        let (service, [ada, bob]) = service(&database).await;
        let event = |user: &Value, name: &str, hour: u32| json!({ "at": format!("2026-01-31T{hour:02}:30:00Z"), "name": name, "user_id": user, "properties": { "n": hour } });
        let recorded = service.post("/v1/events", &event(&ada, "visited", 9)).await.expect(202);
        for (user, name, hour) in [(&ada, "signed_up", 10), (&bob, "visited", 10), (&bob, "visited", 23)] {
            service.post("/v1/events", &event(user, name, hour)).await.expect(202);
        }
        let mut unknown = event(&ada, "visited", 9);
        unknown["nam"] = json!("x");
        service.post("/v1/events", &unknown).await.problem(400, "shape");
        service.get("/v1/events").await.expect(200)["items"].as_array().map(|items| assert!(items.is_empty())).unwrap();

        let delivering = delivering(&service).await;
        let path = format!("/v1/events/{}", recorded["id"].as_str().unwrap());
        eventually("the events are delivered", PATIENCE, async || {
            let listed = service.get("/v1/events").await.expect(200);
            (listed["items"].as_array().unwrap().len() == 4).then_some(())
        })
        .await;
        assert_eq!(service.get(&path).await.expect(200)["properties"], json!({ "n": 9 }));
        let period = "from=2026-01-31T00:00:00Z&until=2026-02-01T00:00:00Z";
        let counted = service.get(&format!("/v1/events/per?unit=day&{period}")).await.expect(200);
        let since = "2026-01-31T00:00:00.000Z";
        let day = |name: &str, count: u32| json!({ "since": since, "name": name, "count": count });
        assert_eq!(counted, json!([day("signed_up", 1), day("visited", 3)]));
        let active = service.get(&format!("/v1/events/active-users?unit=day&{period}")).await.expect(200);
        assert_eq!(active, json!([{ "since": since, "users": 2 }]));
        let funnel = service.get(&format!("/v1/events/funnel?steps=visited,signed_up&{period}")).await.expect(200);
        assert_eq!(funnel, json!([2, 1]));
        service.get("/v1/events/per?unit=day").await.problem(400, "query").says("from must be an instant");
        service.get(&format!("/v1/events/per?unit=year&{period}")).await.problem(400, "query");
        service.get(&format!("/v1/events/funnel?stepz=a&{period}")).await.problem(400, "query");

        // What was done is in the log, and by which endpoint.
        let endpoints = async || {
            let limit = "limit=5&from=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z";
            let top = service.get(&format!("/v1/logs/top-endpoints?{limit}")).await.expect(200);
            (top[0] == json!({ "endpoint": "/v1/users", "method": "POST", "count": 2 })).then_some(())
        };
        eventually("the log has the changes", PATIENCE, endpoints).await;
        delivering.flush(PATIENCE).await;
    }

    async fn what_belongs_to_a_user_goes_with_them(database: TestDatabase) {
        let (service, [ada, bob]) = service(&database).await;
        for user in [&ada, &bob] {
            service.create("/v1/birth-charts", &chart(user, "mine", "1990-05-17", [16.37, 48.21])).await;
            let insight = json!({ "user_id": user, "date": "2026-01-31", "energy_level": 40 });
            service.create("/v1/planetary-insights", &insight).await;
        }
        let delivering = delivering(&service).await;
        let path = format!("/v1/users/{}", ada.as_str().unwrap());
        assert_eq!(service.delete(&path, 1).await.status, 204);
        let users = async |path: &str| column(&service.get(path).await, "user_id");
        eventually("their documents are deleted", PATIENCE, async || {
            let left = [users("/v1/birth-charts").await, users("/v1/planetary-insights").await];
            (left == [[bob.clone()], [bob.clone()]]).then_some(())
        })
        .await;
        assert_eq!(delivering.dangling().await.unwrap(), []);
        let chart = service.create("/v1/birth-charts", &chart(&ada, "late", "1990-05-17", [16.37, 48.21])).await;
        let dangling = delivering.dangling().await.unwrap();
        assert_eq!((dangling.len(), dangling[0].documents, &*dangling[0].collection), (1, 1, "birthCharts"));
        assert_eq!(json!(dangling[0].records), json!([chart["user_id"]]));
        delivering.flush(PATIENCE).await;
    }
);

/// A store that delivers what the service commits.
async fn delivering(service: &Service) -> Store {
    let policy = OutboxPolicy { pause: Duration::from_millis(20), ..OutboxPolicy::default() };
    let documents = Arc::new(SqlDocuments::new(&service.store));
    service.store.clone().delivering(documents, collections().into_iter().cloned().collect(), policy)
}
