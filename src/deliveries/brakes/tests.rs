use uuid::Uuid;

use super::decide::{Brake, alarms, brakes};
use super::tally::{Answer, Said, Tally};
use crate::clock::Timestamp;
use crate::id::IssueId;
use crate::smtp::class::Class;

const NOW: Timestamp = Timestamp::from_micros(1_783_400_400_000_000);

fn refused(class: Class) -> Said {
    Said::Refused {
        class,
        transmitted: false,
        reply: "550 no".to_owned(),
    }
}

fn count(tally: &mut Tally, times: usize, domain: &str, said: &Said) {
    count_at(NOW, tally, times, domain, said);
}

fn count_at(at: Timestamp, tally: &mut Tally, times: usize, domain: &str, said: &Said) {
    let answer = Answer {
        issue: IssueId(Uuid::nil()),
        domain: domain.to_owned(),
        said: said.clone(),
    };
    for _ in 0..times {
        tally.count(&answer, at);
    }
}

/// Good answers, with `bad` ones of one kind spread among them.
fn mixed(good: usize, bad: usize, said: &Said) -> Tally {
    let mut tally = Tally::default();
    for number in 0..bad {
        count(&mut tally, 1, "example.org", said);
        count(
            &mut tally,
            usize::from(number < good),
            "example.org",
            &Said::Accepted,
        );
    }
    count(
        &mut tally,
        good.saturating_sub(bad),
        "example.org",
        &Said::Accepted,
    );
    tally
}

fn is_pulled(good: usize, bad: usize, said: &Said) -> bool {
    brakes(&mixed(good, bad, said)).is_some()
}

#[test]
fn good_answers_pull_no_brake() {
    assert_eq!(brakes(&Tally::default()), None);
    assert_eq!(brakes(&mixed(10_000, 0, &Said::Accepted)), None);
    let deferred = mixed(0, 10_000, &Said::Deferred { transmitted: false });
    assert_eq!((brakes(&deferred), deferred.answers), (None, 0));
}

#[test]
fn hard_bounces_stop_an_issue_over_five_percent_of_a_hundred() {
    let hard = refused(Class::Hard);
    assert!(!is_pulled(93, 6, &hard), "99 answers say nothing yet");
    assert!(!is_pulled(95, 5, &hard), "five percent are allowed");
    assert_eq!(
        brakes(&mixed(94, 6, &hard)),
        Some(Brake::HardBounces {
            refused: 6,
            answers: 100
        })
    );
}

#[test]
fn refusals_by_policy_stop_an_issue_over_ten_percent_of_a_hundred() {
    let policy = refused(Class::Policy);
    assert!(!is_pulled(80, 19, &policy));
    assert!(!is_pulled(90, 10, &policy));
    assert!(is_pulled(89, 11, &policy));
    assert!(
        !is_pulled(50, 50, &refused(Class::Soft)),
        "full mailboxes do not"
    );
}

#[test]
fn three_refusals_of_the_message_in_the_same_words_stop_it() {
    let said = |reply: &str| Said::Refused {
        class: Class::Content,
        transmitted: true,
        reply: reply.to_owned(),
    };
    let mut tally = Tally::default();
    count(&mut tally, 2, "a.example", &said("554 5.6.0 odd"));
    count(&mut tally, 2, "b.example", &said("554 5.6.0 other"));
    assert_eq!(brakes(&tally), None);
    count(&mut tally, 1, "c.example", &said("554 5.6.0 odd"));
    let reply = "554 5.6.0 odd".to_owned();
    assert_eq!(brakes(&tally), Some(Brake::Content { times: 3, reply }));
}

#[test]
fn twenty_recipients_refused_in_a_row_over_three_domains_stop_it() {
    let no = refused(Class::Relay);
    let mut tally = Tally::default();
    count(&mut tally, 60, "a.example", &no);
    count(&mut tally, 5, "b.example", &no);
    assert_eq!(brakes(&tally), None, "two domains may be gone");
    count(
        &mut tally,
        1,
        "c.example",
        &Said::Deferred { transmitted: false },
    );
    assert_eq!(brakes(&tally), None);
    count(&mut tally, 1, "c.example", &no);
    assert!(matches!(
        brakes(&tally),
        Some(Brake::EveryRecipient {
            refusals: 66,
            domains: 3
        })
    ));
    count(&mut tally, 1, "d.example", &Said::Accepted);
    assert_eq!(brakes(&tally), None, "one was accepted");
    for domain in ["a.example", "b.example", "c.example"] {
        count(&mut tally, 6, domain, &no);
    }
    assert_eq!(brakes(&tally), None, "18 in a row");
    count(&mut tally, 2, "a.example", &no);
    assert!(brakes(&tally).is_some());
}

#[test]
fn whatever_is_said_of_a_whole_message_breaks_a_row_of_refused_recipients() {
    for said in [
        Said::Deferred { transmitted: true },
        Said::Refused {
            class: Class::Soft,
            transmitted: true,
            reply: "552 full".to_owned(),
        },
        Said::Lost,
    ] {
        let mut tally = Tally::default();
        for domain in ["a.example", "b.example", "c.example"] {
            count(&mut tally, 6, domain, &refused(Class::Relay));
        }
        count(&mut tally, 1, "a.example", &said);
        count(&mut tally, 2, "a.example", &refused(Class::Relay));
        assert_eq!(brakes(&tally), None, "{said:?}");
    }
}

#[test]
fn lost_replies_stop_it_from_five_and_one_percent_of_the_latest_on() {
    assert!(!is_pulled(0, 4, &Said::Lost));
    assert!(is_pulled(0, 5, &Said::Lost));
    assert!(is_pulled(400, 5, &Said::Lost));
    let mut tally = mixed(495, 0, &Said::Accepted);
    count(&mut tally, 5, "example.org", &Said::Lost);
    assert_eq!(brakes(&tally), None, "5 of 500 are one percent");
    count(&mut tally, 1, "example.org", &Said::Lost);
    assert!(brakes(&tally).is_some());
    count(&mut tally, 500, "example.org", &Said::Accepted);
    assert_eq!(brakes(&tally), None, "what is long ago does not count");
    assert!(tally.doubts.transmissions() <= 500);
}

#[test]
fn a_domain_that_refuses_by_policy_is_worth_an_alarm() {
    let policy = refused(Class::Policy);
    let mut tally = mixed(5000, 0, &Said::Accepted);
    count(&mut tally, 19, "big.example", &policy);
    assert_eq!(alarms(&tally).count(), 0);
    count(&mut tally, 1, "big.example", &policy);
    count(&mut tally, 6, "small.example", &policy);
    count(&mut tally, 93, "small.example", &Said::Accepted);
    assert_eq!(
        alarms(&tally).map(|(domain, _)| domain).collect::<Vec<_>>(),
        ["big.example"]
    );
    count(&mut tally, 1, "small.example", &Said::Accepted);
    let found: Vec<_> = alarms(&tally)
        .map(|(domain, of)| (domain, of.policy))
        .collect();
    assert_eq!(found, [("big.example", 20), ("small.example", 6)]);
}

#[test]
fn workers_together_pull_a_brake_that_none_pulls_alone() {
    for (said, bad, worth_alarms) in [
        (refused(Class::Hard), 3, 0),
        (refused(Class::Policy), 6, 1),
        (Said::Lost, 4, 0),
    ] {
        let halves = [(); 2].map(|()| mixed(50 - bad, bad, &said));
        assert!(halves.iter().all(|half| brakes(half).is_none()));
        assert!(halves.iter().all(|half| alarms(half).count() == 0));
        let together = Tally::together(&halves);
        assert!(brakes(&together).is_some(), "{said:?}");
        assert_eq!(alarms(&together).count(), worth_alarms, "{said:?}");
    }
}

#[test]
fn what_is_remembered_is_counted_on_where_nothing_more_is_remembered() {
    let policy = refused(Class::Policy);
    let content = |number: usize| Said::Refused {
        class: Class::Content,
        transmitted: true,
        reply: format!("554 odd in way {number}"),
    };
    let mut tally = Tally::default();
    for number in 0..1000 {
        count(&mut tally, 1, &format!("{number}.example"), &policy);
        count(&mut tally, 1, "example.org", &content(number));
    }
    assert!(tally.domains.len() < 1000 && tally.content.len() < 1000);
    count(&mut tally, 19, "0.example", &policy);
    let found: Vec<_> = alarms(&tally).map(|(domain, _)| domain).collect();
    assert_eq!(found, ["0.example"]);
    count(&mut tally, 2, "example.org", &content(0));
    assert_eq!(tally.content["554 odd in way 0"], 3);
}

#[test]
fn a_row_of_refusals_is_broken_by_any_workers_success() {
    let (mut one, mut other) = (Tally::default(), Tally::default());
    for domain in ["a.example", "b.example", "c.example"] {
        count(&mut one, 5, domain, &refused(Class::Hard));
        count(&mut other, 5, domain, &refused(Class::Hard));
    }
    assert!(brakes(&Tally::together(&[one.clone(), other])).is_some());
    let mut success = Tally::default();
    let later = NOW + std::time::Duration::from_secs(1);
    let accepted = Answer {
        issue: IssueId(Uuid::nil()),
        domain: "d.example".to_owned(),
        said: Said::Accepted,
    };
    success.count(&accepted, later);
    let heard = [one.clone(), success.clone()];
    assert_eq!(Tally::together(&heard).run.refusals, 0);
    let next = Answer {
        said: refused(Class::Hard),
        ..accepted
    };
    one.count(&next, later + std::time::Duration::from_secs(1));
    let run = Tally::together(&[one, success]).run;
    assert_eq!(run.refusals, 0, "the row began before the success");
}

#[test]
fn a_row_of_refusals_that_began_after_the_success_of_an_earlier_life_counts() {
    let (mut earlier, mut life) = (Tally::default(), Tally::default());
    count(&mut earlier, 1, "a.example", &Said::Accepted);
    let later = NOW + std::time::Duration::from_secs(1);
    for domain in ["a.example", "b.example", "c.example"] {
        count_at(later, &mut life, 7, domain, &refused(Class::Relay));
    }
    assert!(matches!(
        brakes(&Tally::together(&[earlier, life])),
        Some(Brake::EveryRecipient {
            refusals: 21,
            domains: 3
        })
    ));
}

#[test]
fn a_tally_survives_its_row() {
    let mut tally = mixed(300, 7, &Said::Lost);
    count(&mut tally, 3, "a.example", &refused(Class::Policy));
    let stored = serde_json::to_string(&tally).unwrap();
    assert_eq!(serde_json::from_str::<Tally>(&stored).unwrap(), tally);
}

fn unwanted(reply: &str) -> Said {
    Said::Refused {
        class: Class::Content,
        transmitted: true,
        reply: reply.to_owned(),
    }
}

#[test]
fn a_message_stops_by_whichever_words_it_was_refused_in_three_times() {
    let mut tally = Tally::default();
    count(&mut tally, 1, "a.example", &unwanted("554 5.6.0 another"));
    count(&mut tally, 3, "b.example", &unwanted("554 5.6.0 odd"));
    let reply = "554 5.6.0 odd".to_owned();
    assert_eq!(brakes(&tally), Some(Brake::Content { times: 3, reply }));
}

#[test]
fn a_brake_says_how_many_of_how_many() {
    let mut everybody = Tally::default();
    for domain in ["a.example", "b.example", "c.example"] {
        count(&mut everybody, 10, domain, &refused(Class::Relay));
    }
    for (tally, words) in [
        (
            mixed(395, 5, &Said::Lost),
            "the relay's final reply was lost for 5 of the last 400 mails",
        ),
        (
            everybody,
            "30 recipients in a row were refused, in 3 domains",
        ),
        (
            mixed(10, 3, &unwanted("554 5.6.0 odd")),
            "the message was refused 3 times: 554 5.6.0 odd",
        ),
        (
            mixed(94, 6, &refused(Class::Hard)),
            "6 of 100 addresses do not exist (over 5 %)",
        ),
        (
            mixed(89, 11, &refused(Class::Policy)),
            "11 of 100 mails were refused by policy (over 10 %)",
        ),
    ] {
        assert_eq!(brakes(&tally).unwrap().to_string(), words);
    }
}

#[test]
fn of_domains_each_worker_knows_some_and_together_they_know_all() {
    let mut workers = [(); 2].map(|()| Tally::default());
    let domains = [["a.example", "b.example"], ["a.example", "c.example"]];
    for (worker, domains) in workers.iter_mut().zip(domains) {
        for domain in domains {
            count(worker, 5, domain, &refused(Class::Relay));
            worker.alarmed.insert(domain.to_owned());
        }
    }
    let together = Tally::together(&workers);
    assert!(matches!(
        brakes(&together),
        Some(Brake::EveryRecipient {
            refusals: 20,
            domains: 3
        })
    ));
    assert_eq!(together.alarmed.len(), 3);
}

#[test]
fn a_row_of_refusals_is_broken_by_the_latest_success_whosever_it_is() {
    let second = std::time::Duration::from_secs(1);
    let [mut early, mut late, mut refusing] = [(); 3].map(|()| Tally::default());
    count_at(NOW, &mut early, 1, "a.example", &Said::Accepted);
    let no = refused(Class::Relay);
    count_at(NOW + second, &mut refusing, 5, "a.example", &no);
    count_at(NOW + second * 2, &mut late, 1, "a.example", &Said::Accepted);
    let orders = [
        [early.clone(), late.clone(), refusing.clone()],
        [late, early, refusing],
    ];
    for workers in orders {
        assert_eq!(Tally::together(&workers).run.refusals, 0);
    }
}

#[test]
fn whatever_one_worker_hears_of_a_whole_message_breaks_a_row_of_another() {
    let no = refused(Class::Relay);
    for said in [
        Said::Deferred { transmitted: true },
        unwanted("552 full"),
        Said::Lost,
    ] {
        let [mut refusing, mut other] = [(); 2].map(|()| Tally::default());
        count(&mut refusing, 5, "a.example", &no);
        let later = NOW + std::time::Duration::from_secs(1);
        count_at(later, &mut other, 1, "a.example", &said);
        let together = Tally::together(&[refusing, other]);
        assert_eq!(together.run.refusals, 0, "{said:?}");
    }
}

#[test]
fn five_percent_of_refusals_by_policy_are_no_alarm_of_a_domain() {
    for (bad, alarmed) in [(5, 0), (6, 1)] {
        let tally = mixed(100 - bad, bad, &refused(Class::Policy));
        assert_eq!(alarms(&tally).count(), alarmed, "{bad}");
    }
}

#[test]
fn a_row_of_refusals_is_broken_by_the_latest_of_a_workers_successes_that_comes_after_it() {
    let second = std::time::Duration::from_secs(1);
    let [mut refusing, mut other] = [(); 2].map(|()| Tally::default());
    count_at(NOW, &mut other, 1, "a.example", &Said::Accepted);
    let no = refused(Class::Relay);
    count_at(NOW + second, &mut refusing, 5, "a.example", &no);
    // what comes at the same moment does not come after it
    for (at, refusals) in [(1, 5), (2, 0)] {
        let later = NOW + second * at;
        count_at(later, &mut other, 1, "a.example", &Said::Accepted);
        let together = Tally::together(&[refusing.clone(), other.clone()]);
        assert_eq!(together.run.refusals, refusals, "{at} s");
    }
}

#[test]
fn an_address_or_a_policy_that_refuses_the_whole_message_counts_as_at_rcpt() {
    for (class, bad) in [(Class::Hard, 6), (Class::Policy, 11)] {
        let said = Said::Refused {
            class,
            transmitted: true,
            reply: "550 no".to_owned(),
        };
        assert!(is_pulled(100 - bad, bad, &said), "{class:?}");
    }
}

#[test]
fn refusals_by_policy_count_in_however_many_domains() {
    let policy = refused(Class::Policy);
    let mut tally = mixed(1900, 0, &Said::Accepted);
    for number in 0..250 {
        count(&mut tally, 1, &format!("{number}.example"), &policy);
        count(&mut tally, 1, "example.org", &Said::Accepted);
    }
    assert_eq!(
        brakes(&tally),
        Some(Brake::Policy {
            refused: 250,
            answers: 2400
        })
    );
}

#[test]
fn nineteen_recipients_refused_in_a_row_stop_nothing_yet() {
    for (refusals, stops) in [(19, false), (20, true)] {
        let mut tally = Tally::default();
        for number in 0..refusals {
            let domain = ["a.example", "b.example", "c.example"][number % 3];
            count(&mut tally, 1, domain, &refused(Class::Relay));
        }
        assert_eq!(brakes(&tally).is_some(), stops, "{refusals}");
    }
}
