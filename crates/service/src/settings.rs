//! Settings from the environment, checked at start, all mistakes told at once.

use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Command, Parser};

/// The log filter where no other is set.
pub(crate) const DEFAULT_LOG: &str = "info";

/// A secret that was read from a file. It never shows itself in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = String;

    /// Reads the secret from the file at `path`.
    fn from_str(path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let text = text.trim_end();
        if text.is_empty() {
            return Err(format!("{path}: the file is empty"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Reads the settings of `service`. On mistakes logs each of them and gives the exit code 2.
pub(crate) fn load<S: Parser>(service: &'static str) -> Result<S, ExitCode> {
    match S::try_parse() {
        Ok(settings) => Ok(settings),
        Err(error) => {
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) {
                let _ = error.print();
                return Err(ExitCode::SUCCESS);
            }
            // The log filter is a setting itself: its default stands in for it. Where logs were
            // started already, they are as good.
            let _ = telemetry::start(service, DEFAULT_LOG);
            let mut mistakes = mistakes(&S::command());
            if mistakes.is_empty() {
                mistakes.push(reason(&error));
            }
            for mistake in mistakes {
                tracing::error!("{mistake}");
            }
            Err(ExitCode::from(2))
        }
    }
}

/// clap stops at the first value that cannot be read, so each setting is read alone as well.
fn mistakes(command: &Command) -> Vec<String> {
    command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some())
        .filter_map(|argument| {
            let alone = Command::new("setting")
                .no_binary_name(true)
                .disable_help_flag(true)
                .arg(argument.clone());
            let error = alone
                .try_get_matches_from(std::iter::empty::<&str>())
                .err()?;
            let name = argument.get_env()?.to_string_lossy().into_owned();
            Some(format!("{name}: {}", reason(&error)))
        })
        .collect()
}

/// What clap says, in one line and without its advice.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let reason = text.split("\n\nUsage").next().unwrap_or_default().trim();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Four {
        #[arg(long, env = "SETTINGS_TEST_PORT")]
        _port: u16,
        #[arg(long, env = "SETTINGS_TEST_SECRET")]
        _secret: Secret,
        #[arg(long, env = "SETTINGS_TEST_LOG", default_value = "sqlx=loud", value_parser = telemetry::filter)]
        _log: String,
        #[arg(long, env = "SETTINGS_TEST_FINE", default_value = "3")]
        _fine: u16,
    }

    #[test]
    fn every_mistake_is_told_at_once_and_names_its_setting() {
        use clap::CommandFactory;
        let found = mistakes(&Four::command());
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("SETTINGS_TEST_PORT: "), "{found:?}");
        assert!(found[1].starts_with("SETTINGS_TEST_SECRET: "), "{found:?}");
        assert!(found[2].starts_with("SETTINGS_TEST_LOG: "), "{found:?}");
        assert!(found.iter().all(|line| !line.contains('\n')), "{found:?}");
    }

    #[test]
    fn a_secret_never_shows_itself() {
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "Secret(…)");
    }
}
