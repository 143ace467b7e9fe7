//! `portolan cluster transfer-leader`.

use super::terminal::{Colour, paint};
use super::token::{self, Change};
use crate::cli::TransferLeaderArgs;
use crate::client::Client;
use crate::error::Failure;
use portolan_registry::{LeaderChange, LeaderWanted};

const TARGET: &str = "/api/v1/cluster/leader";

/// Has another node lead, and says who does.
///
/// # Errors
/// When it is refused, or the node does not answer.
pub(crate) async fn transfer(args: &TransferLeaderArgs) -> Result<(), Failure> {
    let client = Client::of(&args.change.ask.server)?;
    let wanted = LeaderWanted { node: args.node.clone() };
    token::make(&client, Change::put(TARGET, &wanted)?, &args.change, render).await
}

fn render(change: &LeaderChange) -> String {
    let leader = paint(&change.leader, Colour::Strong);
    if change.before == change.leader {
        format!("{leader} leads already")
    } else {
        format!("{leader} leads; {} did", change.before)
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use portolan_registry::LeaderChange;

    #[test]
    fn who_led_and_who_leads_is_one_line() {
        let change = |before: &str| LeaderChange { before: before.to_owned(), leader: "us-1".to_owned() };
        assert_eq!(render(&change("eu-1")), "us-1 leads; eu-1 did");
        assert_eq!(render(&change("us-1")), "us-1 leads already");
    }
}
