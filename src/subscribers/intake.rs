//! Sign-ups that wait are stored together.
//!
//! A transaction costs about as much for one as for fifty. There is no timer: what is stored together is what came
//! while those before it were stored.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::signup::{self, Request, SignupError};
use crate::app::App;

/// Sign-ups of one transaction, at most.
const MOST: usize = 256;

/// The way to the tables of sign-ups.
#[derive(Default)]
pub struct Intake(Mutex<Line>);

#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// Whether somebody works it off.
    is_attended: bool,
}

struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<(), SignupError>>,
}

impl Intake {
    pub(super) async fn take(&self, app: &Arc<App>, request: Request) -> Result<(), SignupError> {
        let (answer, answered) = oneshot::channel();
        if self.join(Waiting { request, answer }) {
            tokio::spawn(work_off(app.clone()));
        }
        let gone = |_| Err(SignupError::Db(Arc::new(sqlx::Error::WorkerCrashed)));
        answered.await.unwrap_or_else(gone)
    }

    /// Whether the line is to be attended from now on.
    fn join(&self, waiting: Waiting) -> bool {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting.push(waiting);
        !std::mem::replace(&mut line.is_attended, true)
    }

    /// The first of the line. Empty: it is not attended any more.
    fn next(&self) -> Vec<Waiting> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = line.waiting.len().min(MOST);
        line.is_attended = count > 0;
        line.waiting.drain(..count).collect()
    }
}

async fn work_off(app: Arc<App>) {
    loop {
        let group = app.intake.next();
        if group.is_empty() {
            return;
        }
        // in a task of its own: a panic costs this group alone, which is answered by its end
        let _ended = tokio::spawn(store(app.clone(), group)).await;
    }
}

async fn store(app: Arc<App>, group: Vec<Waiting>) {
    let (requests, answers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|waiting| (waiting.request, waiting.answer))
        .unzip();
    let stored = match signup::store(&app, requests).await {
        Ok(stored) => stored,
        Err(error) => {
            let error = SignupError::Db(Arc::new(error));
            vec![Err(error); answers.len()]
        }
    };
    for (answer, stored) in answers.into_iter().zip(stored) {
        // the caller may be gone; what was done stays done
        let _gone = answer.send(stored);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::id::NewsletterId;
    use crate::subscribers::email_address::{AddressRules, EmailAddress};
    use crate::subscribers::evidence::{Channel, Evidence};
    use crate::subscribers::selection::Selection;

    fn address(number: usize) -> String {
        format!("reader{number}@example.org")
    }

    fn waiting(number: usize) -> Waiting {
        let email = EmailAddress::parse(&address(number), AddressRules::default());
        let request = Request {
            newsletter: NewsletterId(uuid::Uuid::nil()),
            email: email.unwrap(),
            selection: Selection::default(),
            locale: "en".to_owned(),
            evidence: Evidence::of(Channel::Form),
            client: IpAddr::from([192, 0, 2, 1]),
            is_trapped: false,
        };
        let (answer, _) = oneshot::channel();
        Waiting { request, answer }
    }

    #[test]
    fn a_long_line_is_worked_off_in_its_order_and_by_one_at_a_time() {
        let intake = Intake::default();
        for number in 0..=MOST {
            assert_eq!(intake.join(waiting(number)), number == 0, "{number}");
        }
        let mut next = 0;
        for count in [MOST, 1] {
            let group = intake.next();
            assert_eq!(group.len(), count);
            for found in group {
                assert_eq!(found.request.email.as_str(), address(next));
                next += 1;
            }
        }
        // while the last are stored
        assert!(!intake.join(waiting(next)));
        assert_eq!(intake.next().len(), 1);
        assert!(intake.next().is_empty());
        assert!(intake.join(waiting(next)));
    }
}
