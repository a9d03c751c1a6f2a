use paperround::smtp::route::{Route, Stop, Wish};

use super::*;

fn route(relays: &[(&str, &SmtpServer)], clock: &Arc<TestClock>) -> Arc<Route> {
    let stops = relays.iter().map(|(name, server)| {
        let config = RelayConfig {
            name: (*name).to_owned(),
            ..config(server)
        };
        let connector = Connector::new(config, Deadlines::default()).unwrap();
        Stop {
            relay: relay_over(connector, clock.clone()),
            allowance: None,
        }
    });
    Route::new(stops.collect(), clock.clone())
}

#[tokio::test]
async fn a_relay_that_refuses_one_sender_is_still_the_first_choice_of_another() {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let route = route(&[("first", &first), ("second", &second)], &clock());
    assert!(route.refuses("first", "world"), "another one is left");
    for (sender, relay) in [("world", "second"), ("sport", "first")] {
        let wish = Wish {
            sender,
            relay: None,
        };
        let lease = route.open(&wish).await.unwrap();
        assert_eq!(&**lease.relay(), relay, "{sender}");
    }
}
