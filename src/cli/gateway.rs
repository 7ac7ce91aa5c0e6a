//! The running gateway, as subcommands ask it: which one, and its answer or the reason for none.

use std::{io, os::unix::net::UnixStream, path::PathBuf};

use serde_json::Value;

use super::{ConfigFile, Ending, complain};
use crate::app::control;
use crate::config::Config;

/// Which gateway.
#[derive(Debug, clap::Args)]
pub struct At {
    #[command(flatten)]
    config: ConfigFile,
    /// The control socket, if it is not where the configuration says.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    /// Its configuration; tells every problem on standard error.
    pub fn config(&self) -> Result<Config, Ending> {
        super::run::load(&self.config.path)
    }

    /// Whether it runs shows when it is asked.
    pub fn gateway(&self) -> Result<Gateway, Ending> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => self.config()?.control.socket,
        };
        Ok(Gateway { socket })
    }
}

/// The running one. What it refuses, and that it is not there, is said at once.
#[derive(Debug)]
pub struct Gateway {
    socket: PathBuf,
}

impl Gateway {
    /// The answer as it came, an object of JSON.
    pub fn ask_text(&self, command: &str) -> Result<String, Ending> {
        Ok(self.answer(command)?.0)
    }

    /// For an answer that has no end.
    pub fn open(&self, command: &str) -> Result<UnixStream, Ending> {
        control::open(&self.socket, command).map_err(|error| self.is_silent(&error))
    }

    fn is_silent(&self, error: &io::Error) -> Ending {
        complain(&format!("no gateway answers on {}: {error}", self.socket.display()));
        Ending::TryAgain
    }

    pub fn ask(&self, command: &str) -> Result<Value, Ending> {
        Ok(self.answer(command)?.1)
    }

    fn answer(&self, command: &str) -> Result<(String, Value), Ending> {
        let text = control::ask(&self.socket, command).map_err(|error| self.is_silent(&error))?;
        let reply: Value = serde_json::from_str(&text).map_err(|error| {
            complain(&format!("the gateway's answer cannot be read: {error}"));
            Ending::Failed
        })?;
        match reply.get("error").and_then(Value::as_str) {
            None => Ok((text, reply)),
            Some(error) => {
                complain(error);
                Err(Ending::Failed)
            }
        }
    }
}
