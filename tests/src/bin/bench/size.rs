//! Memory of the stack and of each service, file cache left out, and the size of images.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::stack::{Stack, docker};
use crate::table::Row;

/// Our own processes and the most memory each container of them may take, in MB.
const SERVICES: [(&str, f64); 5] = [
    ("identity", 45.0),
    ("catalog", 25.0),
    ("booking", 25.0),
    ("worker", 25.0),
    ("bank", 25.0),
];
const MB: f64 = 1_000_000.0;

/// Measures what runs now. The background crowd is off on this stack, and so is Grafana.
///
/// # Errors
/// The engine does not answer.
pub async fn measure(stack: &Stack) -> anyhow::Result<Vec<Row>> {
    let mut used: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for container in stack.containers(None).await? {
        let service = docker(
            &[
                "inspect",
                "--format",
                "{{index .Config.Labels \"com.docker.compose.service\"}}",
                &container,
            ],
            "",
        )
        .await?;
        if service != "grafana" {
            used.entry(service)
                .or_default()
                .push(memory(&container).await?);
        }
    }
    let whole: f64 = used.values().flatten().sum();
    let parts: Vec<_> = used
        .iter()
        .map(|(service, each)| format!("{service} {:.0}", each.iter().sum::<f64>()))
        .collect();
    let mut rows = vec![Row::at_most(
        "memory of the whole stack, file cache left out",
        whole,
        "MB",
        1000.0,
        &parts.join(", "),
    )];
    for (service, bound) in SERVICES {
        let largest = used
            .get(service)
            .into_iter()
            .flatten()
            .copied()
            .fold(0.0, f64::max);
        rows.push(Row::at_most(
            &format!("memory of one {service}"),
            largest,
            "MB",
            bound,
            "largest replica",
        ));
        let image = docker(
            &[
                "image",
                "inspect",
                "--format",
                "{{.Size}}",
                &format!("boxoffice/{service}"),
            ],
            "",
        )
        .await?;
        rows.push(Row::at_most(
            &format!("image of {service}"),
            image.parse::<f64>().context("size of an image")? / MB,
            "MB",
            180.0,
            "base included",
        ));
    }
    Ok(rows)
}

/// What the engine counts for a container, which leaves out file cache that could be dropped.
async fn memory(container: &str) -> anyhow::Result<f64> {
    let printed = docker(
        &[
            "stats",
            "--no-stream",
            "--format",
            "{{.MemUsage}}",
            container,
        ],
        "",
    )
    .await?;
    let text = printed.split('/').next().unwrap_or_default().trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        unit => anyhow::bail!("unknown unit {unit} in {printed}"),
    };
    Ok(digits.parse::<f64>()? * factor / MB)
}
