// node .ci/count.mjs FILE: what a JSON report of vitest says, as `PASSED FAILED` on one line.
//
// A test file that could not be loaded has no tests; it counts as one failure. Tests that failed or were left out are named on standard
// error.
// Without a report nothing passed.
import { readFileSync } from 'node:fs'

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    console.error(`no report of vitest: ${error.message}`)
    return { testResults: [] }
  }
}

/** The beginning of what a failure says, on one line. */
function shortly(messages = []) {
  return messages.join(' ').replace(/\s+/g, ' ').slice(0, 600)
}

const files = readReport(process.argv[2]).testResults
const tests = files.flatMap(file => file.assertionResults)
const unloaded = files.filter(
  file => file.status === 'failed' && file.assertionResults.length === 0,
)
const passed = tests.filter(test => test.status === 'passed').length
const failed = tests.filter(test => test.status === 'failed').length + unloaded.length
for (const { name, assertionResults } of files)
  for (const test of assertionResults)
    if (test.status === 'failed')
      console.error(`failed: ${name} > ${test.fullName}: ${shortly(test.failureMessages)}`)
for (const file of unloaded)
  console.error(`failed: ${file.name} was not loaded: ${shortly([file.message])}`)
for (const test of tests)
  if (test.status !== 'passed' && test.status !== 'failed')
    console.error(`left out: ${test.fullName} (${test.status})`)
console.log(`${passed} ${failed}`)
