// The password that takes the place of the initial one: until then the console shows nothing else.

import {element, startTheme} from "./dom.js";
import {makePasswordForm} from "./ownpassword.js";

const form = makePasswordForm({
  least: Number(document.body.dataset.least),
  currentLabel: "Initial password",
  onDone: () => location.assign("/guide"),
});
element("choose").append(form);
form.querySelector("#current").focus();
startTheme();
