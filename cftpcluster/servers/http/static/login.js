// The log-in page.

import {logIn, logInProblem} from "./api.js";
import {element, icon, startTheme} from "./dom.js";

const form = element("login");
const message = element("message");
const password = element("password");
const reveal = element("reveal");

function conceal(isHidden) {
  password.type = isHidden ? "password" : "text";
  reveal.setAttribute("aria-pressed", String(!isHidden));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const submit = form.querySelector("[type=submit]");
  submit.disabled = true;
  message.hidden = true;
  conceal(true);
  try {
    await logIn(element("name").value, password.value);
    location.reload();
  } catch (error) {
    message.textContent = logInProblem(error);
    message.hidden = false;
    submit.disabled = false;
    password.value = "";
    password.focus();
  }
});

reveal.addEventListener("click", () => {
  conceal(password.type === "text");
  password.focus();
});
startTheme();
