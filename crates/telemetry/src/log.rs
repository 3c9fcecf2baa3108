//! One JSON object a line: `time`, `level`, `service.name`, `message`, then the fields of the event
//! and of the spans around it, innermost last.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::panic::PanicHookInfo;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) fn start(
    service: &'static str,
    filter: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = self::filter(filter)?;
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields)
        .event_format(Line { service });
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Levels by target. The library's other filter also matches fields by regular expressions, and the
/// engine for these takes longer to compile than the rest of this crate's dependencies together.
pub(crate) fn filter(text: &str) -> Result<Targets, ParseError> {
    text.parse()
}

/// Logs a panic as one line like any other, with its trace where `RUST_BACKTRACE` asks for one.
fn panicked(panic: &PanicHookInfo<'_>) {
    let trace = Backtrace::capture();
    let place = panic.location();
    tracing::error!(
        exception.message = panic.payload_as_str().unwrap_or("no text"),
        exception.stacktrace =
            (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string()),
        code.file.path = place.map(|place| place.file()),
        code.line.number = place.map(|place| place.line()),
        thread.name = std::thread::current().name(),
        "panicked"
    );
}

/// Collects fields into a JSON object.
struct Collect<'a>(&'a mut Map<String, Value>);

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

/// Keeps a span's fields as the JSON text of one object.
struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut map = Map::new();
        fields.record(&mut Collect(&mut map));
        write!(writer, "{}", Value::Object(map))
    }
}

struct Line {
    service: &'static str,
}

impl<S> FormatEvent<S, JsonFields> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        line.insert("time".to_owned(), now.into());
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        line.insert("level".to_owned(), level.into());
        line.insert("service.name".to_owned(), self.service.into());
        line.insert("target".to_owned(), event.metadata().target().into());
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>()
                    && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
                {
                    line.extend(fields);
                }
            }
        }
        event.record(&mut Collect(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            page.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs.
    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let page = Page::default();
        let writer = page.clone();
        let lines = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields)
            .event_format(Line { service: "here" })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
        let page = page.0.lock().unwrap();
        let text = std::str::from_utf8(&page).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_of_the_spans_around_it() {
        let lines = logged(|| {
            let _span = tracing::info_span!("request", http.request.id = "r", trace.id = "t");
            let _span = _span.enter();
            tracing::warn!(order.id = 7, "two\nlines");
        });
        let [line] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        for (field, value) in [
            ("level", "warn".into()),
            ("service.name", "here".into()),
            ("message", "two\nlines".into()),
            ("http.request.id", "r".into()),
            ("trace.id", "t".into()),
            ("order.id", Value::from(7)),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        let time = line["time"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    }

    #[test]
    fn a_panic_is_a_line_that_says_where() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(panicked));
        let lines = logged(|| {
            let unwound = std::panic::catch_unwind(|| panic!("no {}", "luck"));
            assert!(unwound.is_err());
        });
        std::panic::set_hook(before);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["level"], "error");
        assert_eq!(lines[0]["message"], "panicked");
        assert_eq!(lines[0]["exception.message"], "no luck");
        let file = lines[0]["code.file.path"].as_str().unwrap();
        assert!(file.ends_with("log.rs"), "{file}");
        assert!(lines[0]["code.line.number"].is_u64(), "{lines:?}");
    }
}
