use crate::support::feed_server::{Answer, FeedServer};
use crate::support::{Program, TestApp, db_test};

use super::feeds::{program, rss};

/// The articles that stand so: id and title.
fn list(program: &Program, state: &str) -> Vec<(String, String)> {
    let json = program
        .run(&["article", "list", "--state", state, "--json"])
        .expect(0)
        .json();
    let text = |article: &serde_json::Value, key: &str| article[key].as_str().unwrap().to_owned();
    let articles = json.as_array().unwrap().iter();
    articles
        .map(|article| (text(article, "id"), text(article, "title")))
        .collect()
}

db_test!(
    an_operator_holds_releases_and_dismisses_articles,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = FeedServer::start().await;
        site.set("/feed", Answer::ok(rss(&[(1, "Asia", "Ada")])));
        let program = program(app, &site);
        let feed = site.url("/feed").to_string();
        program.run(&["feed", "add", &feed]).expect(0);
        let articles = [(1, "Asia", "Ada"), (2, "Asia", "Ada"), (3, "Asia", "Ada")];
        site.set("/feed", Answer::ok(rss(&articles)));
        program.run(&["feed", "refresh"]).expect(0);
        assert_eq!(list(&program, "known").len(), 1);
        let waiting = list(&program, "waiting");
        assert_eq!(waiting.len(), 2);
        let [(first, title), (second, _)] = &waiting[..] else {
            panic!("there are two");
        };

        let run = program
            .run(&[
                "article",
                "hold",
                first,
                "--reason",
                "the numbers are wrong",
            ])
            .expect(0);
        assert!(
            run.err
                .contains(&format!("Next: paperround article release {first}")),
            "{}",
            run.err
        );
        let shown = program.run(&["article", "list"]).expect(0).out;
        assert!(
            shown.contains(title) && shown.contains("held: the numbers are wrong"),
            "{shown}"
        );
        program.run(&["article", "release", first]).expect(0);
        assert_eq!(list(&program, "ready"), [(first.clone(), title.clone())]);
        program.run(&["article", "dismiss", second]).expect(0);
        assert_eq!(list(&program, "known").len(), 2);

        let run = program.run(&["article", "release", first]).expect(4);
        assert!(
            run.err.contains("is ready: it cannot be released"),
            "{}",
            run.err
        );
        let nobody = "0198e0a2-7c1b-7000-8000-000000000001";
        let run = program.run(&["article", "release", nobody]).expect(2);
        assert!(
            run.err
                .contains("`paperround article list` prints what there is"),
            "{}",
            run.err
        );
    }
);
