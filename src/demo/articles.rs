//! What the sample site publishes.

/// One sample article.
#[derive(Clone, Copy, Debug)]
pub(super) struct Article {
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    pub(super) category: &'static str,
    pub(super) author: &'static str,
    pub(super) summary: &'static str,
    /// Paragraphs, an empty line between them.
    pub(super) body: &'static str,
}

/// How many are on the site when the demo starts; they are never news.
pub(super) const AT_START: usize = 3;

/// All of them, oldest first.
pub(super) const ARTICLES: &[Article] = &[
    Article {
        slug: "night-trains",
        title: "Night trains return to the Baltic line",
        category: "Europe",
        author: "Marta Lind",
        summary: "After eleven years without sleepers, three capitals are joined again by a train that leaves after dinner.",
        body: "After eleven years without sleepers, three capitals are joined again by a train that leaves after dinner and arrives before work.\n\nThe first departure was sold out within an hour. The operator says that it will add a second carriage class in spring.",
    },
    Article {
        slug: "coral-count",
        title: "Divers count a reef by hand, and find more than satellites did",
        category: "Asia-Pacific",
        author: "Jonah Tan",
        summary: "Two hundred volunteers, one week, and a number that surprised the people who had asked for it.",
        body: "Two hundred volunteers, one week, and a number that surprised the people who had asked for it.\n\nThe count will be repeated every second year, by the same method, so that it can be compared.",
    },
    Article {
        slug: "library-hours",
        title: "A city gives its libraries the evening back",
        category: "Americas",
        author: "Ana Duarte",
        summary: "Doors stay open until ten. The first figures say that most of those who come late had never come before.",
        body: "Doors stay open until ten. The first figures say that most of those who come late had never come before.\n\nThe extra hours cost less than the sign that announces them.",
    },
    Article {
        slug: "harbor-wind",
        title: "A harbor that runs on wind, except on Tuesdays",
        category: "Europe",
        author: "Marta Lind",
        summary: "Cranes, tugs and cold stores now draw their power from twelve turbines. Maintenance day is the exception, and engineers want to end it.",
        body: "Cranes, tugs and cold stores now draw their power from twelve turbines. Maintenance day is the exception, and engineers want to end it.\n\nA battery the size of four containers is to carry the port through the weekly check from next year.",
    },
    Article {
        slug: "rice-calendar",
        title: "Farmers rewrite the rice calendar",
        category: "Asia-Pacific",
        author: "Jonah Tan",
        summary: "The rains come eleven days later than they did a generation ago. A village has stopped waiting for the almanac.",
        body: "The rains come eleven days later than they did a generation ago. A village has stopped waiting for the almanac.\n\nInstead it reads forty soil sensors, and plants when the third one from the river says so.",
    },
    Article {
        slug: "bridge-vote",
        title: "Two towns, one bridge & a vote nobody expected to be close",
        category: "Americas",
        author: "Ana Duarte",
        summary: "Forty votes decided that the old bridge stays open to bicycles only. Both mayors say that they can live with it.",
        body: "Forty votes decided that the old bridge stays open to bicycles only. Both mayors say that they can live with it.\n\nThe count was repeated twice; the result was the same each time.",
    },
    Article {
        slug: "quiet-airport",
        title: "The airport that stopped announcing things",
        category: "Europe",
        author: "Piet Vos",
        summary: "No gongs, no names, no last calls. Missed flights went down, and nobody is quite sure why.",
        body: "No gongs, no names, no last calls. Missed flights went down, and nobody is quite sure why.\n\nThe airport's own guess: people look at the boards again.",
    },
    Article {
        slug: "tide-clock",
        title: "An island sets its shops by the tide",
        category: "Asia-Pacific",
        author: "Jonah Tan",
        summary: "Opening hours move by fifty minutes a day, and everybody seems to know them by heart.",
        body: "Opening hours move by fifty minutes a day, and everybody seems to know them by heart.\n\nVisitors get a card with the month's hours from the ferry's crew.",
    },
];
