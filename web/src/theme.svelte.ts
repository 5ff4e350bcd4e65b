// Light, dark, or as the system is set. The browser remembers the choice.

export type Theme = "system" | "light" | "dark";

const KEY = "sealwire.theme";
const THEMES: readonly Theme[] = ["system", "light", "dark"];
const systemDark = matchMedia("(prefers-color-scheme: dark)");

let chosen = $state<Theme>(load());
let system = $state<"light" | "dark">(systemDark.matches ? "dark" : "light");

systemDark.addEventListener("change", () => {
  system = systemDark.matches ? "dark" : "light";
});
apply();

export const theme = {
  get chosen(): Theme {
    return chosen;
  },
  get shown(): "light" | "dark" {
    return chosen === "system" ? system : chosen;
  },
  next(): void {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length] ?? "system";
    apply();
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // Some private windows refuse storage; the choice then lasts as long as the page.
    }
  },
};

function apply(): void {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

function load(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return THEMES.find((known) => known === stored) ?? "system";
  } catch {
    return "system";
  }
}
