//! What a line of the log looks like: when, how bad, from where, what, and for which request.
//!
//! The id of the request is that of the [context](domain::Context): a span of tracing around every request would say the
//! same, and take longer than all the rest of the line. Spans that others open are told.

use std::fmt;

use domain::current_context;
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// What lines look like.
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: a JSON object each. The fields must be formatted as JSON, too.
    Json,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let (level, target) = (metadata.level(), metadata.target());
        let spans = context.event_scope().map(|scope| scope.from_root().collect::<Vec<_>>()).unwrap_or_default();
        let request = current_context();
        let request_id = request.as_ref().and_then(|request| request.request_id.as_deref());
        match self {
            Self::Text => {
                SystemTime.format_time(&mut to)?;
                match to.has_ansi_escapes() {
                    true => write!(to, " {}{level:>5}\x1b[0m {target}: ", colour(level))?,
                    false => write!(to, " {level:>5} {target}: ")?,
                }
                for span in &spans {
                    to.write_str(span.name())?;
                    if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|it| !it.is_empty()) {
                        write!(to, "{{{fields}}}")?;
                    }
                    to.write_str(": ")?;
                }
                context.format_fields(to.by_ref(), event)?;
                if let Some(id) = request_id {
                    write!(to, " request_id={id}")?;
                }
            }
            Self::Json => {
                to.write_str("{\"timestamp\":\"")?;
                SystemTime.format_time(&mut to)?;
                write!(to, "\",\"level\":\"{level}\",\"target\":{},\"fields\":", Value::from(target))?;
                context.format_fields(to.by_ref(), event)?;
                for (nth, span) in spans.iter().enumerate() {
                    let before = if nth == 0 { ",\"spans\":[" } else { "," };
                    write!(to, "{before}{{\"name\":{}", Value::from(span.name()))?;
                    if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                        write!(to, ",\"fields\":{fields}")?;
                    }
                    to.write_str(if nth + 1 == spans.len() { "}]" } else { "}" })?;
                }
                if let Some(id) = request_id {
                    write!(to, ",\"request_id\":{}", Value::from(id))?;
                }
                to.write_char('}')?;
            }
        }
        writeln!(to)
    }
}

/// The colours that terminals are used to.
fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use domain::{Context, within_context};
    use tracing_subscriber::{Layer, Registry, fmt::format::JsonFields, layer::SubscriberExt};

    use super::*;

    /// What is logged of something that happens in a span, for a request.
    fn logged(layer: impl Fn(Written) -> Box<dyn Layer<Registry> + Send + Sync>) -> String {
        let written = Written::default();
        let subscriber = tracing_subscriber::registry().with(layer(written.clone()));
        let context = Context { request_id: Some("the \"request\"".to_owned()), ..Context::default() };
        tracing::subscriber::with_default(subscriber, || {
            let happens = async {
                tracing::info_span!("outer").in_scope(|| {
                    let happens = || tracing::warn!(target: "a \"place\"", count = 3, "happened");
                    tracing::info_span!("inner", of = "it").in_scope(happens);
                });
                tracing::info!("alone");
            };
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(within_context(context, happens));
        });
        let written = written.0.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_people_says_where_what_and_for_which_request() {
        let text = logged(|to| {
            let layer = tracing_subscriber::fmt::layer().with_ansi(false).event_format(Format::Text);
            Box::new(layer.with_writer(move || to.clone()))
        });
        let lines = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect::<Vec<_>>();
        let happened = " WARN a \"place\": outer: inner{of=\"it\"}: happened count=3 request_id=the \"request\"";
        assert_eq!(lines, [happened, " INFO api::log::format::tests: alone request_id=the \"request\""]);
    }

    #[test]
    fn a_line_for_programs_is_json_whatever_is_in_it() {
        let text = logged(|to| {
            let layer = tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(Format::Json);
            Box::new(layer.with_writer(move || to.clone()))
        });
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        let mut times = lines.iter_mut().map(|line| line.as_object_mut().unwrap().remove("timestamp"));
        assert!(times.all(|time| time.unwrap().is_string()));
        let happened = serde_json::json!({
            "level": "WARN", "target": "a \"place\"", "fields": { "message": "happened", "count": 3 },
            "spans": [{ "name": "outer", "fields": {} }, { "name": "inner", "fields": { "of": "it" } }],
            "request_id": "the \"request\"",
        });
        assert_eq!(lines[0], happened);
        assert_eq!(lines[1]["request_id"], "the \"request\"");
        assert!(lines[1].get("spans").is_none());
    }
}
