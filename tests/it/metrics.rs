//! What the service tells those who watch it.

use std::{collections::BTreeMap, time::Duration};

use api::Limits;
use domain::{BreakerPolicy, Sql, StoreOptions};
use reqwest::Method;
use serde_json::json;
use tests::{Backend, PATIENCE, Proxy, eventually, on_both, or_skip, run::LIMIT, within};

use crate::{
    fixture::options,
    http::{KEY, Service, send},
};

/// The value of each figure, by its name and labels.
async fn figures(service: &Service) -> BTreeMap<String, f64> {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let figures = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    figures.collect()
}

on_both!(
    async fn requests_and_statements_are_counted(database: TestDatabase) {
        let service = Service::start(&database).await;
        let tag = service.create("/v1/tags", &json!({ "name": "rust" })).await;
        let before = figures(&service).await;
        for _ in 0..3 {
            service.get(&format!("/v1/tags/{}", tag["id"].as_str().unwrap())).await.expect(200);
        }
        service.get("/v1/nowhere/1").await.problem(404, "not_found");
        service.get("/v1/nowhere/2").await.problem(404, "not_found");
        send(service.request(Method::from_bytes(b"BREW").unwrap(), "/v1/tags")).await.problem(405, "method");
        let after = figures(&service).await;
        let counted = |labels: &str| after[&format!("seabed_request_seconds_count{{{labels}}}")];
        assert_eq!(counted(r#"method="GET",route="/v1/tags/{id}",status="200""#), 3.0);
        assert_eq!(counted(r#"method="POST",route="/v1/tags",status="201""#), 1.0);
        assert_eq!(counted(r#"method="GET",route="",status="404""#), 2.0, "whatever the address was");
        assert_eq!(counted(r#"method="other",route="/v1/tags",status="405""#), 1.0);

        let answered = r#"seabed_statements_total{result="answered"}"#;
        assert!(after[answered] > before[answered], "{after:#?}");
        let look_ups =
            |result: &str| after[&format!(r#"seabed_cache_look_ups_total{{table="tags",result="{result}"}}"#)];
        assert_eq!([look_ups("miss"), look_ups("hit")], [1.0, 2.0]);
        assert!(after["seabed_statement_seconds_total"] > 0.0);
        assert!(after[r#"seabed_pool_connections{state="open"}"#] >= 1.0);
        assert_eq!(after[r#"seabed_breaker{state="closed"}"#], 1.0);

        let failed = r#"seabed_statements_total{result="failed"}"#;
        service.store.query(Sql::new("SELECT nothing FROM nowhere")).await.unwrap_err();
        assert_eq!(figures(&service).await[failed], after[failed] + 1.0, "SQL by hand counts too");
    }
);

#[test]
fn the_state_of_the_breaker_is_told() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let timeout = Duration::from_millis(200);
        let options = StoreOptions {
            connect_timeout: timeout,
            acquire_timeout: timeout,
            breaker: BreakerPolicy { failures: 3, open_for: Duration::from_millis(500) },
            ..options(&proxy.url(&database.url))
        };
        let service = Service::start_on(&options, Limits::default(), KEY).await;
        let is = async |state: &str| {
            service.get("/health").await;
            let figures = figures(&service).await;
            (figures[&format!(r#"seabed_breaker{{state="{state}"}}"#)] == 1.0).then_some(())
        };
        eventually("it is closed", PATIENCE, async || is("closed").await).await;
        proxy.black_hole().await;
        proxy.cut().await;
        eventually("it is open", PATIENCE, async || is("open").await).await;
        proxy.forward().await;
        eventually("it is closed again", PATIENCE, async || is("closed").await).await;
    });
}
