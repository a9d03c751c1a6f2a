//! Actions in words, so that a counterexample reads as a story.

use std::fmt;

use super::actions::Action;
use super::state::Said;
use super::worker::Reply;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Claim { worker, row } => write!(f, "worker {worker} claims row {row}"),
            Self::Address { worker } => write!(f, "354 to worker {worker}"),
            Self::Refuse { worker, reply } => {
                write!(f, "{} at RCPT to worker {worker}", code(reply))
            }
            Self::Mark { worker } => write!(f, "worker {worker} marks"),
            Self::Transmit {
                worker,
                reply: Reply::Lost,
                accepted,
            } => {
                let what = if accepted { "taken" } else { "not taken" };
                write!(f, "dot of worker {worker} {what}, the reply is lost")
            }
            Self::Transmit { worker, reply, .. } => {
                write!(f, "{} after the dot of worker {worker}", code(reply))
            }
            Self::Settle { worker } => write!(f, "worker {worker} settles"),
            Self::SettleAndMark { worker } => {
                write!(f, "worker {worker} settles and marks the next")
            }
            Self::LoseLine { worker } => write!(f, "worker {worker} loses its line before the dot"),
            Self::GiveUpMark { worker } => write!(f, "worker {worker} waits too long for its mark"),
            Self::GiveBack { worker } => write!(f, "worker {worker} gives back"),
            Self::LateMark => write!(f, "the late mark is carried out"),
            Self::StoreKept { worker } => write!(f, "worker {worker} stores what it kept"),
            Self::Kill { worker } => write!(f, "worker {worker} is killed"),
            Self::Start { worker } => write!(f, "worker {worker} starts again"),
            Self::LeaseEnds { worker } => write!(f, "the lease of worker {worker} ends"),
            Self::BeginAnew { worker } => write!(f, "worker {worker} takes a new id"),
            Self::TakeBack { row } => write!(f, "row {row} is taken back"),
            Self::Doubt { row } => write!(f, "the lease of row {row} is over"),
            Self::DecideDoubt { row } => write!(f, "the grace of row {row} is over"),
            Self::Expire { row } => write!(f, "row {row} expires"),
            Self::CancelRow { row } => write!(f, "row {row} is swept off the cancelled issue"),
            Self::Finish => write!(f, "the issue is finished"),
            Self::Leave { row } => write!(f, "reader {row} leaves"),
            Self::Left { row } => write!(f, "the leaving of reader {row} is committed"),
            Self::Pause => write!(f, "pause"),
            Self::Resume => write!(f, "resume"),
            Self::Cancel => write!(f, "cancel"),
            Self::Decide { row, said } => {
                let what = match said {
                    Said::Sent => "was sent",
                    Said::NotSent => "was not sent",
                };
                write!(f, "the operator says that row {row} {what}")
            }
            Self::SendAgain { row } => write!(f, "the operator sends row {row} again"),
            Self::Retry { row } => write!(f, "the operator retries row {row}"),
            Self::TimeIsOver { row } => write!(f, "the time of row {row} is over"),
            Self::LaterIssue { row } => write!(f, "a later issue gives the articles of row {row}"),
        }
    }
}

fn code(reply: Reply) -> &'static str {
    match reply {
        Reply::Accepted => "250",
        Reply::Deferred => "4xx",
        Reply::Refused => "5xx",
        Reply::Lost => "nothing",
    }
}
