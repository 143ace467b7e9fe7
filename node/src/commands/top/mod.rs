//! `portolan top`: the cluster, live.
//!
//! Samples of one node's answer (`poll`) become a picture of the cluster: `rates` divides, `model` collects, `order`
//! sorts, all of them pure; `view` draws it, `words` writes its numbers. It goes onto a terminal (`screen`, `keys`), or
//! out as text or JSON (`print`).

mod keys;
mod model;
mod order;
mod poll;
mod print;
mod rates;
mod screen;
mod view;
pub(crate) mod words;

use crate::cli::TopArgs;
use crate::client::Client;
use crate::error::{Failure, UsageError};
use poll::Source;
use std::io::{self, IsTerminal};

/// Shows the cluster until it is told to stop, or once.
///
/// # Errors
/// When the server does not answer the first question, or there is nothing to draw on.
pub(crate) async fn run(args: &TopArgs) -> Result<(), Failure> {
    if !args.once && !args.json && !io::stdout().is_terminal() {
        return Err(Failure::Usage(UsageError::NotATerminal));
    }
    let client = Client::new_trusting(&args.server.server, args.server.ca.as_deref())?;
    let mut source = Source::new(client, args.server.server.clone());
    let first = source.sample().await?;
    match (args.once, args.json) {
        (true, true) => print::line(&print::rated(&mut source, args.interval).await?),
        (true, false) => print::text(&print::rated(&mut source, args.interval).await?, args.interval),
        (false, true) => print::lines(&mut source, first, args.interval).await,
        (false, false) => screen::watch(source, first, args.interval).await,
    }
}
