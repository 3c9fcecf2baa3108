//! Memory of the stack and of each service, file cache left out, and the size of images.
//!
//! Memory is read twice, each time without load: before anything was asked, and after everything.
//! The larger counts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::stack::Stack;
use crate::table::{Measured, Row};

/// Our own processes and the most memory each container of them may take, in MB.
const SERVICES: [(&str, f64); 5] = [
    ("identity", 45.0),
    ("catalog", 25.0),
    ("booking", 25.0),
    ("worker", 25.0),
    ("bank", 25.0),
];
/// The most memory that all containers may take, in MB, and an image.
const WHOLE: f64 = 1500.0;
const IMAGE: f64 = 180.0;
const MB: f64 = 1e6;

/// Nothing happens for so long before memory is read.
const REST: Duration = Duration::from_secs(20);

/// Memory of each container in MB, by service.
#[derive(Clone, Debug, Default)]
pub struct Reading(BTreeMap<String, Vec<f64>>);

impl Reading {
    fn whole(&self) -> f64 {
        self.0.values().flatten().sum()
    }

    fn largest(&self, service: &str) -> f64 {
        let each = self.0.get(service).into_iter().flatten();
        each.copied().fold(0.0, f64::max)
    }

    fn parts(&self) -> String {
        let parts = self.0.iter().map(|(service, each)| {
            let sum: f64 = each.iter().sum();
            format!("{service} {sum:.0}")
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Reads what the containers take that run now. The background crowd is off on this stack.
///
/// # Errors
/// The engine does not answer.
pub async fn read(stack: &Stack) -> anyhow::Result<Reading> {
    tokio::time::sleep(REST).await;
    let mut reading = Reading::default();
    for container in stack.project.all().await? {
        if container.service != "grafana" && container.state().await?.running {
            let memory = stack.memory(&container).await? / MB;
            reading
                .0
                .entry(container.service.clone())
                .or_default()
                .push(memory);
        }
    }
    Ok(reading)
}

/// The lines of both readings and of the images.
pub async fn rows(
    stack: &Stack,
    before: anyhow::Result<Reading>,
    after: anyhow::Result<Reading>,
) -> Vec<Row> {
    let readings = before.and_then(|before| Ok((before, after?)));
    let both = |value: fn(&Reading, &str) -> f64, service: &str| match &readings {
        Ok((before, after)) => {
            let (before, after) = (value(before, service), value(after, service));
            Ok((
                before.max(after),
                format!("at first {before:.1}, after the load {after:.1}"),
            ))
        }
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let whole = both(|reading, _| reading.whole(), "").map(|(value, note)| {
        let parts = readings.as_ref().map(|(_, after)| after.parts());
        let note = format!("{note}: {}", parts.unwrap_or_default());
        Measured { value, note }
    });
    let mut rows = vec![Row::at_most(
        "memory of the whole stack",
        WHOLE,
        "MB",
        whole,
    )];
    for (service, most) in SERVICES {
        let largest = both(Reading::largest, service).map(|(value, note)| Measured {
            value,
            note: format!("the largest replica: {note}"),
        });
        let what = format!("memory of one `{service}`");
        rows.push(Row::at_most(&what, most, "MB", largest));
    }
    for (service, _) in SERVICES {
        let size = stack.image_size(&format!("boxoffice/{service}")).await;
        let size = size.map(|bytes| Measured {
            value: bytes / MB,
            note: "base included".to_owned(),
        });
        let what = format!("image of `{service}`");
        rows.push(Row::at_most(&what, IMAGE, "MB", size));
    }
    rows
}
