use paperround::smtp::channel::Channel;
use paperround::smtp::relay::{Health, Unavailable};
use paperround::smtp::route::{Route, Stop, Wish};
use secrecy::SecretString;

use super::pool::later;
use super::*;
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Step};

const WORLD: Wish<'static> = Wish {
    sender: "world",
    relay: None,
};

fn stop(name: &str, config: RelayConfig, clock: &Arc<TestClock>) -> Stop {
    let config = RelayConfig {
        name: name.to_owned(),
        ..config
    };
    let connector = Connector::new(config, Deadlines::default()).unwrap();
    Stop {
        relay: relay_over(connector, clock.clone()),
        allowance: None,
    }
}

fn route(relays: &[(&str, &SmtpServer)], clock: &Arc<TestClock>) -> Arc<Route> {
    let stops = relays
        .iter()
        .map(|(name, server)| stop(name, config(server), clock));
    Route::new(stops.collect(), clock.clone())
}

#[tokio::test]
async fn a_relay_that_refuses_one_sender_is_still_the_first_choice_of_another() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    assert!(route.refuses("first", "world"), "another one is left");
    let sport = Wish {
        sender: "sport",
        ..WORLD
    };
    for (wish, relay) in [(WORLD, "second"), (sport, "first")] {
        let lease = route.open(&wish).await.unwrap();
        assert_eq!(&**lease.relay(), relay, "{}", wish.sender);
    }
}

#[tokio::test]
async fn while_one_line_tries_a_relay_after_its_rest_the_others_go_over_the_next() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let clock = clock();
    let route = route(&[("first", &first), ("second", &second)], &clock);
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    first.script().once(Step::Banner, busy);
    assert!(route.open(&WORLD).await.is_err());
    clock.advance(Duration::from_mins(1));
    let probe = route.open(&WORLD).await.unwrap();
    let other = route.open(&WORLD).await.unwrap();
    assert_eq!((&**probe.relay(), &**other.relay()), ("first", "second"));
}

#[tokio::test]
async fn each_relay_is_waited_for_half_a_minute_from_its_own_failure_on() {
    let (server, clock) = (SmtpServer::start().await, clock());
    let begin = clock.now();
    // halted at once, for nothing would protect the password
    let unfit = || RelayConfig {
        login: Some(("ada".to_owned(), SecretString::from("never"))),
        ..config(&server)
    };
    let stops = vec![
        stop("first", unfit(), &clock),
        stop("second", unfit(), &clock),
        stop("third", config(&server), &clock),
    ];
    let route = Route::new(stops, clock.clone());
    for (seconds, next) in [(0, 30), (29, 30), (30, 60), (59, 60)] {
        clock.set(begin + Duration::from_secs(seconds));
        assert!(route.open(&WORLD).await.is_err(), "{seconds}");
        let usable_from = Some(begin + Duration::from_secs(next));
        assert_eq!(route.health().usable_from(), usable_from, "{seconds}");
    }
    clock.set(begin + Duration::from_mins(1));
    assert_eq!(route.health(), Health::Ok);
    let lease = route.open(&WORLD).await.unwrap();
    assert_eq!(&**lease.relay(), "third");
    assert!(route.keeps("third", &WORLD) && !route.keeps("first", &WORLD));
    let standings = route.standings();
    let told: Vec<_> = standings
        .iter()
        .map(|standing| (standing.relay.as_str(), standing.health == Health::Ok))
        .collect();
    assert_eq!(told, [("first", false), ("second", false), ("third", true)]);
}

#[tokio::test]
async fn as_many_lines_are_of_use_as_the_relay_that_allows_most_can_take() {
    let (server, clock) = (SmtpServer::start().await, clock());
    for (most, lines) in [([3, 7], 7), ([7, 3], 7), ([3, 1200], 1000)] {
        let stops = most.map(|max_connections| {
            let config = RelayConfig {
                max_connections,
                ..config(&server)
            };
            stop("any", config, &clock)
        });
        let route = Route::new(stops.into(), clock.clone());
        assert_eq!(route.max_lines(), lines, "{most:?}");
    }
}

#[tokio::test]
async fn a_relay_that_may_have_a_mail_is_waited_for_while_it_takes_no_more_connections() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    let again = Wish {
        relay: Some("second"),
        ..WORLD
    };
    let _lent = route.open(&again).await.unwrap();
    let many = Act::reply("421 4.7.0 too many connections").then(After::Close);
    second.script().always(Step::Banner, many);
    let busy = route.open(&again).await;
    assert!(matches!(busy, Err(Unavailable::Busy)));
    assert_eq!(first.counters().connections, 0);
}

#[tokio::test]
async fn where_a_sender_is_left_without_a_relay_what_is_known_of_others_stands() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    let sport = Wish {
        sender: "sport",
        ..WORLD
    };
    assert!(route.refuses("first", "sport"));
    assert!(route.refuses("first", "world"));
    assert!(!route.refuses("second", "world"), "none is left");
    for (wish, relay) in [(sport, "second"), (WORLD, "first")] {
        let lease = route.open(&wish).await.unwrap();
        assert_eq!(&**lease.relay(), relay, "{}", wish.sender);
    }
}

#[tokio::test]
async fn what_is_idle_is_closed_at_every_relay() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    assert!(route.refuses("first", "sport"));
    let sport = Wish {
        sender: "sport",
        ..WORLD
    };
    let open = || -> Vec<usize> {
        let stops = route.stops().iter();
        stops.map(|stop| stop.relay.open_connections()).collect()
    };
    for wish in [WORLD, sport] {
        drop(route.open(&wish).await.unwrap());
    }
    assert_eq!(open(), [1, 1]);
    later(Duration::from_secs(30)).await;
    Channel::Smtp(route.clone()).close_idle().await;
    assert_eq!(open(), [0, 0]);
}

#[tokio::test]
async fn where_no_relay_is_usable_that_is_waited_for_which_may_be_tried_first() {
    let (server, clock) = (SmtpServer::start().await, clock());
    // halted at once, for nothing would protect the password
    let unfit = RelayConfig {
        login: Some(("ada".to_owned(), SecretString::from("never"))),
        ..config(&server)
    };
    let stops = vec![
        stop("first", config(&server), &clock),
        stop("second", unfit, &clock),
    ];
    let route = Route::new(stops, clock.clone());
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    server.script().once(Step::Banner, busy);
    for tried in route.stops() {
        assert!(tried.relay.open().await.is_err());
    }
    let [first, second] = [0, 1].map(|at| route.stops()[at].relay.health());
    assert!(matches!(second, Health::Halted { .. }));
    assert_eq!(route.health(), first);
}

#[tokio::test]
async fn a_relay_has_its_turn_when_all_before_it_were_waited_for_whichever_failed_first() {
    let (server, clock) = (SmtpServer::start().await, clock());
    let begin = clock.now();
    // halted at once, for nothing would protect the password
    let unfit = RelayConfig {
        login: Some(("ada".to_owned(), SecretString::from("never"))),
        ..config(&server)
    };
    let stops = vec![
        stop("first", unfit, &clock),
        stop("second", config(&server), &clock),
        stop("third", config(&server), &clock),
    ];
    let route = Route::new(stops, clock.clone());
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    server.script().once(Step::Banner, busy);
    for (seconds, failing) in [(0, 1), (20, 0)] {
        clock.set(begin + Duration::from_secs(seconds));
        assert!(route.stops()[failing].relay.open().await.is_err());
    }
    // the second may be tried again before that, and it is not its turn
    for seconds in [21, 40, 49] {
        clock.set(begin + Duration::from_secs(seconds));
        let usable_from = Some(begin + Duration::from_secs(50));
        assert_eq!(route.health().usable_from(), usable_from, "{seconds}");
    }
    clock.set(begin + Duration::from_secs(50));
    assert_eq!(route.health(), Health::Ok);
}

#[tokio::test]
async fn a_relay_that_refuses_one_sender_stands_open_to_another_while_that_one_waits() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    assert!(route.refuses("first", "world"), "another one is left");
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    second.script().once(Step::Banner, busy);
    assert!(route.open(&WORLD).await.is_err());
    let rests = route.stops()[1].relay.health();
    assert!(matches!(rests, Health::BackingOff { .. }));
    assert_eq!(route.health_for("world"), rests);
    assert_eq!(route.health_for("sport"), Health::Ok);
}
