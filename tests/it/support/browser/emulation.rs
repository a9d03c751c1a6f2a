//! How the reader's screen and browser are set.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Browser;

/// What a reader has asked their system for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taste {
    Light,
    Dark,
    /// Only the colors of the system.
    ForcedColors,
}

impl Taste {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::ForcedColors => "forced",
        }
    }
}

impl Browser {
    /// The page's width and height in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Light, dark, or the system's own colors.
    pub(crate) async fn prefer(&self, taste: Taste) {
        let scheme = if taste == Taste::Dark {
            "dark"
        } else {
            "light"
        };
        let forced = if taste == Taste::ForcedColors {
            "active"
        } else {
            "none"
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "forced-colors", "value": forced },
        ]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// How large text is that says nothing about its size, in percent of the usual.
    pub(crate) async fn text_size(&self, percent: u32) {
        let script = format!("document.documentElement.style.fontSize = '{percent}%'");
        self.run(&script).await;
    }

    /// Whether pages may run scripts.
    pub(crate) async fn scripts(&self, are_on: bool) {
        let value = json!({ "value": !are_on });
        self.devtools("Emulation.setScriptExecutionDisabled", value)
            .await;
    }

    /// A picture of the whole page, in the folder that cargo keeps for tests.
    pub(crate) async fn picture(&self, name: &str) {
        let whole = json!({ "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", whole).await;
        let data = picture["data"].as_str().expect("a picture").as_bytes();
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let bytes = BASE64.decode(data).expect("base64");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("it can be written");
    }

    /// Runs a script of the test's own in the page, whatever the page allows.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let answer = self.client.execute(script, Vec::new()).await;
        answer.expect("the script runs")
    }

    /// The same for a script that ends by calling its last argument.
    pub(crate) async fn run_to_callback(&self, script: &str) -> Value {
        let answer = self.client.execute_async(script, Vec::new()).await;
        answer.expect("the script runs")
    }
}
