"""Questions to the invented shop, ours, with the passages that answer them.

A block begins with the ids of the right passages and, behind ``=``, what a right
answer must hold. Some questions take the words of the passage, others avoid them.
"""

ASKED = """
returns-window = 30 days
How long do I have to send back goods that I have not opened?
I changed my mind about an untouched tin. Until when will you take it?
returns-opened = cannot be sent back
Can opened tea be sent back?
I tried the biscuits and hated them. Do I get anything for the half-full bag?
returns-how = return label
How do I return goods, and where do I hand in the parcel?
What do I have to do to get something back to you?
returns-cost = 3.50
What does a return cost?
Who pays the postage when I send something back because I dislike it?
returns-refund = 10 working days
When do you refund after the goods have reached your warehouse?
I sent it all back last week. How soon will I see my money?
returns-exchange = not exchange
Do you exchange goods?
Could I swap the blue pot for a green one?
returns-gift = voucher
Can a gift be returned by the person who received it?
My aunt got me a set that I already own. What can I do with it?
returns-sale = 14 days
Can I return goods from the sale corner?
I took something reduced and regret it. How long have I got?
delivery-cost = 4.90
What does delivery cost inside the country?
How much is postage for a small order?
delivery-time = 2 to 4
After how many working days do parcels arrive inside the country?
Ordered on Monday, will it be with me before the weekend?
delivery-express = 9.90
What does express delivery cost?
I need it tomorrow! Is there a quicker way?
delivery-europe = 12.00
What does it cost to deliver to other countries of the European Union?
Could you send a package to my sister in Portugal?
delivery-outside = not deliver
Do you deliver outside the European Union?
I live in Canada. Will you ship to me?
delivery-tracking = tracking number
When do I get the tracking number?
How can I follow where the box is on its way?
delivery-lost = 7 working days
The parcel has not arrived and I think it is lost. When should I write?
Nothing has turned up after two weeks. Has it vanished?
delivery-missed = 6 days
What does the carrier do if nobody is at home?
I was out when the postman rang. Where do I pick it up?
delivery-address = until the parcel
Can I change the delivery address under My orders?
I have just moved. Is it possible to send it to the new flat?
delivery-broken = 5 days
The goods arrived broken. What should I send you?
The pot was in pieces when I unpacked it. What now?
delivery-locker = second line
Do you deliver to parcel lockers?
Can it go into one of those boxes at the railway station?
delivery-parts = nothing
What happens if one article is not in stock?
Half of what I bought was missing from the box. Do I pay postage twice?
delivery-packaging = recycled
What are your boxes made of?
How green is your wrapping?
orders-cancel = until it is packed
Can I cancel an order free of charge?
I clicked too quickly and do not want it any more. Can I stop it?
orders-change = cannot be added
Can articles be added to a finished order?
I forgot the honey. Could you put it into the same box?
orders-minimum = no minimum
Is there a minimum order value?
May I buy just a single bag for five euros?
orders-confirmation = spam folder
I got no confirmation by e-mail after the order. Where should I look?
How do I know that you have received what I bought?
payment-methods = bank transfer
How can I pay?
Do you take Visa?
payment-invoice = 21 days
When is an invoice due?
I would like to settle up only once I have the tea. May I?
payment-charged = leaves our warehouse
When do you charge the credit card?
Is the money taken at the moment I click on buy?
payment-reminder = 5.00
What do you charge from the second reminder on?
I forgot to settle the bill on time. Will it get more expensive?
payment-tax = in your account
Where is the tax invoice?
My accountant needs a receipt. Where can I download it?
payment-declined = 48 hours
My card was declined. How long do you hold the order?
The bank refused the transaction. Do I have to start again?
payment-instalments = not offer
Do you offer payment in instalments?
Can I spread the price of the kettle over several months?
vouchers-buy = 10 to 150
What value can gift vouchers have?
I want to give a friend some credit for your shop. How much can I put on it?
vouchers-valid = 3 years
How long is a gift voucher valid?
I found an old gift card in a drawer. Is it still any good?
vouchers-redeem = payment page
Where do I enter the voucher code?
Can I use two gift cards at the same time?
vouchers-rest = stays on it
What happens to the rest if the voucher is worth more than the order?
My gift card is bigger than what I want to buy. Do I get change?
vouchers-lost = send the code again
My voucher is lost. Can you send the code again?
I deleted the message with the gift code by mistake.
discounts-welcome = 5.00
What do new customers get who take the newsletter?
Is there anything off when I shop here for the first time?
discounts-students = 10 per cent
Do students get something off?
I am at university. Is there a lower price for me?
discounts-sale = cannot be used
Can discount codes be used for goods from the sale corner?
My promo code does not work on a reduced tin. Why?
points-earn = 1 leaf
How many leaves do I get for each euro?
Do you have a reward scheme for regulars?
points-expire = 18 months
When do leaves expire?
I collected a lot last year. Will my balance be wiped out some day?
subscription-box = 24.00
What does the tea box cost each month?
Is there a monthly surprise with different kinds?
subscription-pause = 20th
Until when can I pause the tea box?
I am away all summer and want no monthly box then.
warranty-teaware = 24 months
How long is the warranty for kettles?
The handle came off my pot after a year. Is that covered?
warranty-claim = serial number
What should I send for a claim under the warranty?
My kettle has stopped heating. Which details do you want from me?
warranty-excluded = limescale
Does the warranty cover scratches or a fall?
I dropped my cup. Will you pay for a new one?
products-organic = green leaf
Which teas are certified organic?
How can I tell what was grown without pesticides?
products-allergens = gluten
Do your biscuits contain gluten or nuts?
My son has coeliac. Are the cookies safe for him?
products-caffeine = no caffeine
Do herbal and fruit teas hold caffeine?
What can I drink in the evening and still sleep?
products-storage = 12 months
How should I keep tea, and how long is an opened tin best?
Where in the kitchen should the leaves stand so that they do not go stale?
products-sold-out = Tell me
An article is sold out. Will you write to me when it is back?
The matcha is gone from the site. How do I hear of it in time?
products-samples = 1.50
Can I order samples?
May I taste a little before I buy a whole bag?
privacy-data = do not sell
Do you sell my name and address to anybody?
What do you know about me, and who else gets it?
privacy-delete = privacy@larkmoor.example
Where do I write to have my account deleted?
I want every trace of me gone from your computers.
privacy-newsletter = unsubscribe
Where is the link to unsubscribe from the newsletter?
Stop filling my inbox with advertising. How?
account-password = 60 minutes
I forgot my password. How long is the link valid?
I cannot get in any more; the login says wrong word.
hours-telephone = 9:00 to 17:00
When is your telephone answered?
At what time can I ring you?
hours-shop = Harbour Street
When is the shop in Harbour Street open?
Could I drop by on a Sunday and look round?
hours-collect = 2 hours
Can I collect an order in your shop, and when is it ready?
I would rather fetch it myself than have it sent.
business-wholesale = trade@larkmoor.example
Is there a price list for cafes and offices?
We run a small hotel and need a lot of breakfast tea. Whom do we ask?
"""
UNANSWERABLE = """
Who founded your company, and in which year?
Do you have a job for a packer in your warehouse?
How many calories are in one of the biscuits?
Is there a car park near your shop?
May I bring my dog into the shop?
How hot should the water be for green tea?
Which biscuits go well with white tea?
Do you offer courses on how to taste tea?
What is the capital of Peru?
Will it rain tomorrow?
Do you have an app for my telephone?
From which farm does the black tea come?
Do you sponsor football clubs?
How do I get a wine stain out of a carpet?
Can you engrave a name on the teapot?
Do your tins fit into a dishwasher?
Who won the match last night?
Which of your teas is the most popular one?
Do you sell cat food?
Tell me a joke about coffee.
Are you going to open a second shop in the north?
"""
OWN = """
C-01 = LM-204817 = 11 November 2026
Where is my parcel?
When will my teapot arrive?
Has my order LM-204817 been sent?
C-02 = LM-207450 = being packed
What is the status of my order?
LM-207450: have you sent it yet?
Has my kettle left your warehouse?
C-03 = LM-206691 = 25 November 2026
When will the matcha from order 206691 get here?
When is my order going to come?
C-04 = LM-201574 = 1 December 2026
When will my next box be sent?
C-05 = LM-199388 = 26 October 2026
Did you pay the refund for LM-199388?
Where is my refund?
C-06 = LM-205963 = cancelled
What happened to order LM-205963?
C-07 = LM-203342 = 95.40
How much did I pay for LM-203342?
C-08 = LM-208118 = 21 November 2026
I am still waiting for my teapot.
C-09 = LM-202035 = not in stock
Why is there only one bag in the parcel of LM-202035?
C-11 = LM-207982 = bank transfer
Has my order been shipped?
C-12 = LM-206204 = 17 November 2026
When did you send lm 206204?
C-10 = LM-197706 = 50.00
What did I order from you, and for how much?
"""
