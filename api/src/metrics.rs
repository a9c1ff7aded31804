//! Figures about the service, in the format that Prometheus collects (OpenMetrics 1.0).

use std::{fmt, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use domain::{BreakerState, Store};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::ConstCounter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{app::App, problem::Problem};

/// The format, as it is named in `Content-Type`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Figures that are counted as requests are answered; what the store counts is asked of it when they are collected.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Kind, Histogram, fn() -> Histogram>,
}

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    method: &'static str,
    /// The address with the names of its parameters, and none for what is at no known address: of those there are as
    /// many as anybody likes.
    route: String,
    status: u16,
}

impl Metrics {
    /// Of a service that works on this store.
    pub(crate) fn new(store: &Store) -> Self {
        let requests = Family::<Kind, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            // From half a millisecond to eight seconds.
            Histogram::new(exponential_buckets(0.000_5, 2.0, 15))
        });
        let mut registry = Registry::with_prefix("seabed");
        let help = "Requests that were answered, and how long that took";
        registry.register("request_seconds", help, requests.clone());
        registry.register_collector(Box::new(StoreFigures(store.clone())));
        Self { registry, requests }
    }

    /// Counts a request.
    pub(crate) fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let (route, status) = (route.unwrap_or_default().to_owned(), status.as_u16());
        let kind = Kind { method: name(method), route, status };
        self.requests.get_or_create(&kind).observe(took.as_secs_f64());
    }
}

/// The methods that anybody may send are as many as anybody likes.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(collect))
}

async fn collect(State(app): State<App>) -> Response {
    let mut figures = String::new();
    match text::encode(&mut figures, &app.metrics().registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], figures).into_response(),
        Err(_) => {
            let detail = "the figures could not be written down";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
        }
    }
}

/// What the store knows of itself.
struct StoreFigures(Store);

impl fmt::Debug for StoreFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreFigures")
    }
}

impl Collector for StoreFigures {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut figures = Figures(encoder);
        let Self(store) = self;
        figures.pool(store)?;
        figures.statements(store)?;
        figures.cache(store)
    }
}

struct Figures<'a>(DescriptorEncoder<'a>);

impl Figures<'_> {
    fn pool(&mut self, store: &Store) -> fmt::Result {
        let pool = store.pool_status();
        let connections = [("open", pool.open), ("idle", pool.idle), ("max", pool.max)];
        let connections = connections.map(|(state, count)| ([("state", state)], u64::from(count)));
        self.gauges("pool_connections", "Connections to the database, and how many there may be", &connections)?;
        let states =
            [("closed", BreakerState::Closed), ("open", BreakerState::Open), ("half_open", BreakerState::HalfOpen)];
        let states = states.map(|(name, state)| ([("state", name)], u64::from(pool.breaker == state)));
        self.gauges("breaker", "1 for the state that the circuit breaker of the database is in", &states)
    }

    fn statements(&mut self, store: &Store) -> fmt::Result {
        let statements = store.statements();
        let by_result = [("answered", statements.answered), ("failed", statements.failed)];
        let by_result = by_result.map(|(result, count)| ([("result", result)], count));
        self.counters("statements", "Statements that were sent to the database", &by_result)?;
        let took = ConstCounter::new(statements.took.as_secs_f64());
        self.one("statement_seconds", "How long all statements took together", &took)?;
        let counts = store.counts();
        let by_end = [("retried", counts.retried), ("late", counts.aborted_late), ("unknown", counts.unknown_outcomes)];
        let by_end = by_end.map(|(end, count)| ([("end", end)], count));
        let help = "Units of work that were run again, took too long and were undone, or committed perhaps";
        self.counters("units_of_work", help, &by_end)
    }

    fn cache(&mut self, store: &Store) -> fmt::Result {
        let Some(cache) = store.cache_status() else { return Ok(()) };
        self.one("cache_fresh", "1 if the cache answers", &ConstGauge::new(u64::from(cache.is_fresh)))?;
        let (mut look_ups, mut fills, mut invalidations) = (Vec::new(), Vec::new(), Vec::new());
        for (table, counts) in &cache.tables {
            for (result, count) in [("hit", counts.hits), ("miss", counts.misses), ("bypass", counts.bypasses)] {
                look_ups.push(([("table", table.as_str()), ("result", result)], count));
            }
            for (result, count) in [("kept", counts.fills), ("refused", counts.refused_fills)] {
                fills.push(([("table", table.as_str()), ("result", result)], count));
            }
            invalidations.push(([("table", table.as_str())], counts.invalidations));
        }
        self.counters("cache_look_ups", "What was looked up in the cache", &look_ups)?;
        self.counters("cache_fills", "What was read to be kept in the cache", &fills)?;
        self.counters("cache_invalidations", "Rows whose copies were forgotten", &invalidations)?;
        let writes = [("waited", cache.waited), ("untold", cache.untold)].map(|(end, count)| ([("end", end)], count));
        self.counters("cache_unreachable_writes", "Writes that the cache could not be told of at once", &writes)
    }

    fn gauges<L: EncodeLabelSet>(&mut self, name: &str, help: &str, values: &[(L, u64)]) -> fmt::Result {
        let gauges = values.iter().map(|(labels, value)| (labels, ConstGauge::new(*value)));
        self.family(name, help, gauges)
    }

    fn counters<L: EncodeLabelSet>(&mut self, name: &str, help: &str, values: &[(L, u64)]) -> fmt::Result {
        let counters = values.iter().map(|(labels, value)| (labels, ConstCounter::new(*value)));
        self.family(name, help, counters)
    }

    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn family<'l, L: EncodeLabelSet + 'l, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        metrics: impl IntoIterator<Item = (&'l L, M)>,
    ) -> fmt::Result {
        let mut metrics = metrics.into_iter().peekable();
        let Some((_, first)) = metrics.peek() else { return Ok(()) };
        let mut encoder = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (labels, metric) in metrics {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }
}
