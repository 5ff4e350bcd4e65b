// Mounts the page.

import { mount } from "svelte";
import "uplot/dist/uPlot.min.css";
import "./app.css";
import App from "./App.svelte";
import { site } from "./site.svelte.ts";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
site.start();
mount(App, { target });
